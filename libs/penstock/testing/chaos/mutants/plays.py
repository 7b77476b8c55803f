"""The plays: a few steps each, by hand, after which a mutant has always done what it must not do.

A play leaves everything healed and lets everything end; without a mutant nothing is wrong then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from penstock.events import topics
from penstock.store import setup, tenants
from penstock.testing.chaos.arena import TTL_SECONDS
from penstock.testing.chaos.mutants.trial import Trial
from penstock.testing.chaos.pipelines import EXCLUSIVE

READY: Final = tuple(topic.name for topic in topics.JOBS_READY.values())
SILENT_SECONDS: Final = 2.0
"""A dispatcher passes over runners that are silent for so long."""
HEARD_SECONDS: Final = 0.5
"""What is on a topic has reached whom it is for."""
QUEUE_SECONDS: Final = 12.0
"""By then the other need must run and the row be held, on a busy machine, too."""
STRANGER: Final = "stranger"


def zombie(trial: Trial) -> None:
    """A runner stands still until its attempt runs elsewhere; then it tells how its own ended."""
    trial.ask({"work": trial.job()})
    with trial.frozen(trial.running("work")):
        trial.running("work", 2)
        trial.open("work", 1)
        trial.until(lambda: trial.ended("work", 1), "the first attempt ends")
    trial.until(lambda: trial.is_late("work") or trial.is_over("work"), "its end is told")
    if not trial.is_over("work"):
        trial.open("work", 2)


def alone(trial: Trial) -> None:
    """The runner of an exclusive job stands still until its job runs elsewhere."""
    trial.ask({"work": trial.job(**EXCLUSIVE)})
    with trial.frozen(trial.running("work")):
        trial.running("work", 2)
    trial.open("work", 2)


def two_owners(trial: Trial) -> None:
    """A runner comes back after its attempt was given away; then the new owner dies."""
    trial.ask({"work": trial.job()})
    first = trial.running("work")
    trial.until(lambda: trial.is_settled("work"), "its start is settled")
    trial.wait(HEARD_SECONDS)  # else it would tell its start again, and learn so that it is nobody's
    with trial.frozen(first):
        second = trial.running("work", 2)
    trial.wait(SILENT_SECONDS)
    trial.open("work", 3)
    trial.kill(second)


def runner_dies(trial: Trial) -> None:
    """A runner dies with its attempt."""
    trial.ask({"work": trial.job()})
    holder = trial.running("work")
    trial.open("work", 2)
    trial.kill(holder)


def reaper_dies(trial: Trial) -> None:
    """The reaper dies when it has taken an attempt back and told nobody."""
    trial.ask({"work": trial.job()})
    holder = trial.running("work")
    trial.open("work", 2)
    trial.arm("reaper-0", "reaper.committed")
    trial.kill(holder)
    trial.until(lambda: trial.bitten("reaper-0", "reaper.committed"), "the reaper dies")


def intake_dies(trial: Trial) -> None:
    """Intake dies when it has read a request and written nothing."""
    trial.open("work")
    trial.arm("intake-0", "intake.before-commit")
    trial.ask({"work": trial.job()}, door="kafka")
    trial.until(lambda: trial.bitten("intake-0", "intake.before-commit"), "intake dies")


def relay_dies(trial: Trial) -> None:
    """An advancer dies before it publishes; the relay, which would, dies too."""
    trial.ask({"work": trial.job()})
    trial.running("work")
    trial.until(lambda: not trial.books().outbox, "all that was published is forgotten")
    trial.arm("advancer-0", "advancer.committed")
    trial.arm("reaper-0", "relay.read")
    trial.open("work")
    trial.until(lambda: trial.bitten("advancer-0", "advancer.committed"), "the advancer dies")
    trial.until(lambda: trial.bitten("reaper-0", "relay.read"), "the relay dies")


def gateway_dies(trial: Trial) -> None:
    """The gateway dies when it has received a request and answered nobody; the client asks again."""
    trial.open("work")
    trial.arm("gateway-0", "gateway.committed")
    ask = trial.ask({"work": trial.job()})
    trial.until(lambda: trial.bitten("gateway-0", "gateway.committed"), "the gateway dies")
    trial.arena.process("gateway-0")
    trial.until(lambda: trial.ask_again(ask).outcome == "ok", "the client is answered")


def logs_die(trial: Trial) -> None:
    """A job fails and is tried again; the service of logs dies between index and offset."""
    trial.open("work", 1, code=1)
    trial.open("work", 2)
    trial.arm("logs-0", "logs.indexed")
    trial.ask({"work": trial.job(retry={"max": 1})})
    trial.until(lambda: trial.bitten("logs-0", "logs.indexed"), "the service of logs dies")


def hint_again(trial: Trial) -> None:
    """The hint of a job that is over comes again, to runners that know nothing of it."""
    trial.open("work", 1)
    trial.open("work", 2)
    trial.ask({"work": trial.job()})
    trial.until(lambda: trial.is_over("work"), "the job ends")
    hints = trial.heard(*READY)
    for label in trial.arena.labels("runner"):
        trial.kill(label)
    trial.wait(SILENT_SECONDS)
    _passes(trial, "before")  # dispatchers know the new runners now
    trial.repeat(hints)
    _passes(trial, "behind")


def cancel_unstarted(trial: Trial) -> None:
    """A cancel comes when an attempt runs, and nobody has read yet that it does."""
    _passes(trial, "before")
    with trial.frozen("advancer-0", "reaper-0"):
        ask = trial.ask({"work": trial.job()})
        trial.until(lambda: trial.began("work", 1), "the attempt begins")
        trial.cancel(ask)
        trial.until(lambda: trial.row("work")["state"].startswith("CANCELL"), "the cancel is applied")


def one_need_ends(trial: Trial) -> None:
    """One of two needs ends; the other one's runner stands still for a moment."""
    trial.open("left")
    trial.open("both")
    trial.ask({"right": trial.job(), "left": trial.job(), "both": trial.job(needs=("left", "right"))})
    trial.stall(trial.running("right"))
    trial.until(lambda: trial.is_over("left"), "the first need ends")
    if trial.row("both")["state"] != "PENDING":
        trial.until(lambda: trial.is_over("both"), "what was let go ends")
    trial.open("right")


def both_needs_end(trial: Trial) -> None:
    """Two needs end in two transactions at once, by the reaper and by the advancer."""
    limits = {"queue": f"{QUEUE_SECONDS:g}s"}
    nowhere = trial.job(timeout=limits) | {"runs-on": {"labels": ["nowhere"]}}
    both = trial.job(needs=("left", "right")) | {"if": "always()"}
    trial.open("both")
    ask = trial.ask({"left": trial.job(), "right": nowhere, "both": both})
    trial.running("left")
    with trial.locked(ask):
        # In this order: the advancer's holds a lease that the reaper would wait for.
        trial.until(lambda: setup.lock_waits(trial.arena.db) > 0, "the reaper ends the one, and waits")
        trial.open("left")
        trial.until(lambda: setup.lock_waits(trial.arena.db) > 1, "the advancer ends the other, and waits")


def kafka_forgets(trial: Trial) -> None:
    """Kafka is wiped while intake is down; a request comes before it is back."""
    trial.open("work")
    with trial.down("intake-0"):
        trial.wipe()
        ask = trial.ask({"work": trial.job()}, door="kafka")
        trial.until(lambda: ask.outcome == "ok" or trial.ask_again(ask).outcome == "ok", "Kafka takes it")


def poisoned(trial: Trial) -> None:
    """A record that nobody can use, and behind it a good one."""
    trial.open("work")
    trial.poison(topics.PIPELINES_REQUESTED.name)
    trial.ask({"work": trial.job()}, door="kafka")


def all_is_well(trial: Trial) -> None:
    """An attempt runs for longer than a lease lasts; nothing is wrong with its runner."""
    trial.ask({"work": trial.job()})
    trial.until(lambda: trial.began("work", 1), "the attempt begins")
    trial.stall("canceller-0")
    trial.within(2 * TTL_SECONDS, lambda: trial.row("work")["attempt"] > 1)
    for attempt in range(1, 9):
        trial.open("work", attempt)


def stranger_cancels(trial: Trial) -> None:
    """Another tenant cancels a pipeline by its id."""
    token = tenants.new_token()
    tenants.create_tenant(trial.arena.db, STRANGER)
    tenants.add_token(trial.arena.db, token, tenant=STRANGER, name="mutants", scopes=("write",))
    _passes(trial, "before")
    ask = trial.ask({"work": trial.job()})
    trial.stall(trial.running("work"))
    trial.cancel(ask, tenant=STRANGER, token=token)
    trial.within(TTL_SECONDS, lambda: trial.row("work")["state"] != "RUNNING")
    trial.open("work")


def _passes(trial: Trial, name: str) -> None:
    """A job that is asked for now, and ends well."""
    trial.open(name)
    trial.ask({name: trial.job()})
    trial.until(lambda: trial.is_over(name), f"{name} ends")


PLAYS: Final[dict[str, Callable[[Trial], None]]] = {
    play.__name__.replace("_", "-"): play
    for play in (
        zombie, alone, two_owners, runner_dies, reaper_dies, intake_dies, relay_dies, gateway_dies, logs_die,
        hint_again, cancel_unstarted, one_need_ends, both_needs_end, poisoned, all_is_well, stranger_cancels,
        kafka_forgets,
    )
}  # fmt: skip
"""By name. The last one shakes the whole stack."""
