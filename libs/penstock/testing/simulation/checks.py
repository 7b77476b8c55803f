"""The verdict on a schedule whose world has healed: each check yields what is wrong, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson

from penstock.core.states import JOB_TRANSITIONS, PIPELINE_TRANSITIONS
from penstock.events import topics
from penstock.runtime.clock import rfc3339
from penstock.store.audit import Books
from penstock.testing.simulation import oracle
from penstock.testing.simulation.clients import Client
from penstock.testing.simulation.fleet import Fleet
from penstock.testing.simulation.services import POLICY
from penstock.testing.simulation.world import World

Rows = list[dict[str, Any]]


class Verdict:
    """All checks of one schedule."""

    def __init__(self, world: World, client: Client, fleet: Fleet, books: Books) -> None:
        self._world = world
        self._client = client
        self._fleet = fleet
        self._books = books
        self._jobs: dict[str, dict[str, Any]] = {job["id"]: job for job in books.jobs}
        self._history = _by(books.job_transitions, "job_id")
        self._of_pipeline = _by(books.jobs, "pipeline_id")

    def problems(self) -> list[str]:
        """Everything that is wrong; nothing when all is well."""
        found = list(self._world.broken)
        for check in (
            self._accepted_once,
            self._histories,
            self._attempts,
            self._executions,
            self._order,
            self._peace,
            self._ends,
            self._pipelines,
            self._published,
            self._leftovers,
        ):
            found.extend(check())
        return found

    def _accepted_once(self) -> Iterator[str]:
        """I1, I2: what was accepted exists once, with all its jobs; nothing else does."""
        accepted: dict[str, list[str]] = defaultdict(list)
        refused = 0
        for pipeline in self._books.pipelines:
            if pipeline["state"] == "REJECTED":
                refused += 1
            else:
                accepted[pipeline["request_id"]].append(pipeline["id"])
        for ask in self._client.asks:
            ids = accepted.pop(ask.key, [])
            if len(ids) != 1:
                yield f"{ask.definition['name']} was asked for over {ask.door} and exists {len(ids)} times"
                continue
            names = sorted(job["name"] for job in self._of_pipeline[ids[0]])
            if names != sorted(ask.definition["jobs"]):
                yield f"{ask.definition['name']} has the jobs {names}"
        for key, ids in accepted.items():
            yield f"nobody asked for {key}: {ids}"
        if refused > self._client.conflicts:
            yield f"{refused} requests were refused, {self._client.conflicts} contradicted an earlier one"

    def _histories(self) -> Iterator[str]:
        """I3: versions without a gap, legal edges, an end; rows agree with them."""
        for job in self._books.jobs:
            rows = self._history[job["id"]]
            wrong = oracle.chain(((r["version"], r["previous"], r["state"]) for r in rows), JOB_TRANSITIONS)
            if wrong:
                yield f"{self._name(job)}: {wrong}"
            elif (rows[-1]["version"], rows[-1]["state"]) != (job["version"], job["state"]):
                yield f"{self._name(job)}: is {job['state']}, its history ends in {rows[-1]['state']}"
        histories = _by(self._books.pipeline_transitions, "pipeline_id")
        for pipeline in self._books.pipelines:
            rows = histories[pipeline["id"]]
            records = ((r["version"], r["previous"], r["state"]) for r in rows)
            if wrong := oracle.chain(records, PIPELINE_TRANSITIONS):
                yield f"{pipeline['name']}: {wrong}"

    def _attempts(self) -> Iterator[str]:
        """I4, I6: one end a claim, and retries by the policy, neither more nor fewer."""
        attempts = _by(self._books.attempts, "job_id")
        for job in self._books.jobs:
            rows = attempts[job["id"]]
            claims = [row["attempt"] for row in self._history[job["id"]] if row["state"] == "ASSIGNED"]
            if claims != list(range(1, job["attempt"] + 1)):
                yield f"{self._name(job)}: claims {claims}, attempt {job['attempt']}"
            if [row["attempt"] for row in rows] != claims:
                yield f"{self._name(job)}: claims {claims}, ends of {[row['attempt'] for row in rows]}"
            if job["tries"] > 1 + job["retry_max"]:
                yield f"{self._name(job)}: {job['tries']} tries, {job['retry_max']} retries allowed"
            if job["state"] == "FAILED" and not self._gave_up_rightly(job):
                yield f"{self._name(job)}: FAILED by {job['reason']} after {job['tries']} tries"

    def _gave_up_rightly(self, job: dict[str, Any]) -> bool:
        match job["reason"]:
            case "exit-code":
                return bool(job["tries"] == 1 + job["retry_max"])
            case "worker-lost" | "infra-error":
                return bool(job["infra_tries"] > POLICY.max_infra)
            case reason:
                return bool(reason == "start-refused" and job["unstarted"] >= POLICY.max_claims)

    def _executions(self) -> Iterator[str]:
        """I6: what was accepted of an attempt is what its one run came to."""
        for attempt in self._books.attempts:
            runs = self._fleet.runs.get((attempt["job_id"], attempt["attempt"]), [])
            done = [run.success for run in runs if not run.stopped]
            name = f"{self._name(self._jobs[attempt['job_id']])} #{attempt['attempt']}"
            if attempt["state"] == "SUCCESS" and True not in done:
                yield f"{name}: SUCCESS, but it ran {done or 'never'}"
            if attempt["reason"] == "exit-code" and False not in done:
                yield f"{name}: exit-code, but it ran {done or 'never'}"
        claimed = {(row["job_id"], row["attempt"]) for row in self._books.attempts}
        for job_id, number in self._fleet.runs.keys() - claimed:
            yield f"{self._name(self._jobs[job_id])} #{number} ran, and was never claimed"

    def _order(self) -> Iterator[str]:
        """I7: in the order of commits, no claim before the end of all needs."""
        ended = {job_id: rows[-1]["committed"] for job_id, rows in self._history.items() if rows}
        for job in self._books.jobs:
            claims = [row["committed"] for row in self._history[job["id"]] if row["state"] == "ASSIGNED"]
            for need in job["needs"]:
                if claims and claims[0] < ended[need]:
                    yield f"{self._name(job)} was claimed before {self._jobs[need]['name']} had ended"

    def _peace(self) -> Iterator[str]:
        """I13: the lease of a runner that is alive and heard does not end."""
        peace = rfc3339(self._world.peace_at)
        for row in self._books.job_transitions:
            if row["reason"] in ("worker-lost", "start-timeout") and row["at"] > peace:
                yield f"{self._name(self._jobs[row['job_id']])}: {row['reason']} when nothing fails"

    def _ends(self) -> Iterator[str]:
        """Final states are what the definition makes of them; only what was cancelled is CANCELLED."""
        asked = {ask.key: ask for ask in self._client.asks}
        for pipeline in self._books.pipelines:
            if pipeline["state"] == "REJECTED" or pipeline["request_id"] not in asked:
                continue
            jobs = asked[pipeline["request_id"]].definition["jobs"]
            rows = {job["name"]: job for job in self._of_pipeline[pipeline["id"]]}
            if rows.keys() != jobs.keys():
                continue  # told already
            ends = {name: (job["state"], job["reason"]) for name, job in rows.items()}
            for name, job in rows.items():
                if job["state"] == "CANCELLED":
                    if not self._was_cancelled(job):
                        yield f"{self._name(job)}: CANCELLED, which nobody asked for"
                    continue
                fate = oracle.fate(jobs[name], jobs, ends)
                if fate != "runs" and (job["state"], job["reason"]) != ("SKIPPED", fate):
                    yield f"{self._name(job)}: {job['state']} {job['reason']}, should be SKIPPED {fate}"
                if fate == "runs" and job["state"] == "SKIPPED":
                    yield f"{self._name(job)}: SKIPPED, should run"
            cancelling = pipeline["reason"] == "cancelled"
            state = oracle.pipeline_state(jobs, ends, cancelled=cancelling)
            if pipeline["state"] != state:
                yield f"{pipeline['name']}: {pipeline['state']}, should be {state}"

    def _was_cancelled(self, job: dict[str, Any]) -> bool:
        return any(
            wish.pipeline_id == job["pipeline_id"] and wish.job_id in (None, job["id"])
            for wish in self._client.wishes
        )

    def _pipelines(self) -> Iterator[str]:
        """I12: a pipeline that was CANCELLING claims nothing more; every cancel that was kept is applied."""
        for rows in _by(self._books.pipeline_transitions, "pipeline_id").values():
            begun = [row["committed"] for row in rows if row["state"] == "CANCELLING"]
            for job in self._of_pipeline[rows[0]["pipeline_id"]] if begun else ():
                late = [
                    row
                    for row in self._history[job["id"]]
                    if row["state"] == "ASSIGNED" and row["committed"] > begun[0]
                ]
                if late:
                    yield f"{self._name(job)} was claimed after its pipeline was cancelled"
        there = {pipeline["id"] for pipeline in self._books.pipelines}
        for wish in self._books.cancels:
            if wish["applied_at"] is None and wish["pipeline_id"] in there:
                yield f"the cancel of {wish['pipeline_id']} was never applied"

    def _published(self) -> Iterator[str]:
        """I9: the status topics hold every version, and nothing that Postgres does not have."""
        subjects = (
            (topics.JOBS_STATUS.name, "job_id", self._books.job_transitions),
            (topics.PIPELINES_STATUS.name, "pipeline_id", self._books.pipeline_transitions),
        )
        for topic, subject, rows in subjects:
            written = {(row[subject], row["version"], row["state"]) for row in rows}
            events = [orjson.loads(record.value or b"") for record in self._world.bus.records(topic)]
            told = {(event[subject], event["version"], event["state"]) for event in events}
            for key in sorted(written - told):
                yield f"{topic} lacks version {key[1]}, {key[2]}, of {key[0]}"
            for key in sorted(told - written):
                yield f"{topic} has version {key[1]}, {key[2]}, of {key[0]}, which is not so"
        for each in topics.TOPICS:
            for letter in self._world.bus.records(topics.dlq_of(each.name)):
                yield f"dead letter of {each.name}: {letter.headers}"

    def _leftovers(self) -> Iterator[str]:
        """I8: nothing waits and nothing is held."""
        for table, count in self._books.left.items():
            if count:
                yield f"{count} rows are left in {table}"
        for job in self._books.jobs:
            if job["token"] is not None:
                yield f"{self._name(job)} still has a token"

    def _name(self, job: dict[str, Any]) -> str:
        return f"{job['name']} ({job['id'][-4:]}, pipeline {job['pipeline_id'][-4:]})"


def _by(rows: Rows, column: str) -> defaultdict[str, Rows]:
    groups: defaultdict[str, Rows] = defaultdict(list)
    for row in rows:
        groups[row[column]].append(row)
    return groups
