"""System mutants: Penstock with one rule taken out, and a play each on the real stack that always shows it.

A harness that finds nothing proves nothing. Every mutant is planted from outside, in the arena's database or
in a process at its start; the play ends healed, its history is judged, and the verdict must name an invariant
that the mutant breaks. Without the mutant the same play's verdict must be clean.

| module | what is in it |
| --- | --- |
| `mutant`, `texts`, `patches` | what is planted: SQL, Python |
| `trial`, `listening` | hands for a play, and its history |
| `plays` | the plays |
| `ground`, `rounds` | a stack for many trials; mutants against their plays, and what is told of it |

Processes of a test stack import this package to become a mutant, so it loads nothing but the list.
"""

from __future__ import annotations

from typing import Final

from penstock.testing.chaos.mutants import patches, texts
from penstock.testing.chaos.mutants.mutant import Mutant

_ALL: Final = (
    Mutant(
        "finish-without-fence",
        "an end is accepted from whoever tells it, not from the holder of the token alone",
        "zombie",
        ("I5", "I6"),
        texts.FINISH_WITHOUT_FENCE,
    ),
    Mutant(
        "renew-without-fence",
        "a heartbeat renews the lease of a job, whoever holds it now",
        "two-owners",
        ("I1",),
        texts.RENEW_WITHOUT_FENCE,
    ),
    Mutant(
        "exclusive-like-any",
        "a lease of an exclusive job is one like any other, and no guard knows when it ends",
        "alone",
        ("I6",),
        texts.EXCLUSIVE_LIKE_ANY,
    ),
    Mutant(
        "log-without-attempt",
        "log lines are kept by job, whatever attempt they are of",
        "logs-die",
        ("I14",),
        patch=patches.one_log_a_job,
        services=("logs",),
    ),
    Mutant(
        "reaper-without-outbox",
        "what the reaper takes back is published, but not kept until it is",
        "reaper-dies",
        ("I9",),
        texts.RELEASE_WITHOUT_OUTBOX,
    ),
    Mutant(
        "reaper-without-leases",
        "nobody looks for leases that are over",
        "runner-dies",
        ("I1", "I8"),
        patch=patches.expire_nothing,
        services=("reaper",),
    ),
    Mutant(
        "reaper-with-its-own-clock",
        "leases are compared with the clock of the reaper, which is an hour ahead",
        "all-is-well",
        ("I13",),
        texts.CLOCK_OF_THE_SERVICE,
    ),
    Mutant(
        "offset-first",
        "offsets are committed when records are read, not when they are done",
        "intake-dies",
        ("I1",),
        patch=patches.commit_first,
        services=("intake",),
    ),
    Mutant(
        "relay-deletes-first",
        "the relay deletes what it has not published yet",
        "relay-dies",
        ("I9",),
        patch=patches.delete_first,
        services=("reaper",),
    ),
    Mutant(
        "claim-without-state",
        "a claim does not ask whether the job is QUEUED",
        "hint-again",
        ("I3",),
        texts.CLAIM_WITHOUT_STATE,
    ),
    Mutant(
        "claim-without-rowcount",
        "grants are published for all jobs that were to be claimed, not for those that were",
        "hint-again",
        ("I4", "I6"),
        texts.CLAIM_WITHOUT_ROWCOUNT,
    ),
    Mutant(
        "cancel-leaves-the-token",
        "an attempt that may run is CANCELLED at once, and its token stays good",
        "cancel-unstarted",
        ("I3",),
        texts.CANCEL_LEAVES_TOKEN,
    ),
    Mutant(
        "cancel-voids-the-token",
        "an attempt that may run is CANCELLED at once, and its end is nobody's",
        "cancel-unstarted",
        ("I4",),
        texts.CANCEL_VOIDS_TOKEN,
    ),
    Mutant(
        "one-need-is-enough",
        "a job is let go when the first of its needs has ended",
        "one-need-ends",
        ("I7",),
        texts.ONE_NEED_IS_ENOUGH,
    ),
    Mutant(
        "needs-from-a-snapshot",
        "whether all needs have ended is read from the snapshot of the transaction that ends one of them",
        "both-needs-end",
        ("I8",),
        texts.NEEDS_FROM_SNAPSHOT,
    ),
    Mutant(
        "a-key-for-every-try",
        "a request that is repeated gets another key",
        "gateway-dies",
        ("I2",),
        patch=patches.forget_keys,
        services=("gateway",),
    ),
    Mutant(
        "dead-letters-dropped",
        "what nobody can handle is dropped",
        "poisoned",
        ("I19",),
        patch=patches.drop_letters,
        services=("intake",),
    ),
    Mutant(
        "cancel-for-anybody",
        "a cancel does not ask whose pipeline it is",
        "stranger-cancels",
        ("I16",),
        texts.CANCEL_FOR_ANYBODY,
    ),
    Mutant(
        "latest-offset",
        "a group without offsets begins with what comes next",
        "kafka-forgets",
        ("I1",),
        patch=patches.begin_at_the_end,
        services=("intake",),
    ),
)
MUTANTS: Final = {mutant.name: mutant for mutant in _ALL}
"""By name."""
