"""What is told of a kill, line by line: pure, of what was seen and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from penstock.cli.words import counted, plural, reason_words
from penstock.core.states import JOB_TERMINAL

Kind = Literal["worker", "service", "kafka", "postgres"]
SHOWN: Final = 5
"""Jobs of which every step is told; of the others only what became of them all."""

EXPECTED: Final[Mapping[Kind, str]] = {
    "worker": "its jobs are queued again when their leases end, a TTL after it was heard of last",
    "service": "another replica, or its next process, reads again whatever it had in hand",
    "kafka": "jobs that run go on; Postgres keeps all records that Kafka does not take",
    "postgres": "jobs that run go on, their reports wait on disk; requests are taken by Kafka alone",
}
WIPED: Final = "all its records are gone as well; everything that counts is in Postgres"


class JobSeen(NamedTuple):
    """A job as it is at a moment."""

    job_id: str
    name: str
    state: str
    attempt: int
    version: int


class Step(NamedTuple):
    """One transition of a job."""

    job_id: str
    version: int
    state: str
    attempt: int
    reason: str | None
    exit_code: int | None


class Line(NamedTuple):
    """One line: seconds after the kill, a sentence for people, facts for programs."""

    seconds: float
    text: str
    facts: Mapping[str, Any]


class Story:
    """Of one kill. Give it what is seen, in the order of time; it answers with the lines that are new.

    `held` are the jobs that ran at that time: of a killed runner its own, else all. `probe` is the request
    key of a pipeline that was asked for right after the kill; empty: there is none.
    """

    def __init__(self, kind: Kind, label: str, held: Sequence[JobSeen], probe: str) -> None:
        self.kind: Kind = kind
        self._label = label
        self._before = {job.job_id: job for job in held}
        self._jobs = dict(self._before)
        self._versions = {job.job_id: job.version for job in held}
        self._told = {job.job_id for job in held[:SHOWN]}
        self._probe = probe
        self._probe_job: str | None = None
        self._state = "killed"
        self._silent = False

    @property
    def job_ids(self) -> list[str]:
        """The jobs that are watched."""
        return list(self._jobs)

    @property
    def waits_for_probe(self) -> bool:
        """Whether the job asked for after the kill is not known yet."""
        return bool(self._probe) and self._probe_job is None

    @property
    def is_well(self) -> bool:
        """Whether it is there again, the job asked for after the kill is done, and nobody waits for it."""
        probed = not self._probe or (
            self._probe_job is not None and self._jobs[self._probe_job].state in JOB_TERMINAL
        )
        return self._state == "ready" and probed and not self._silent and not self.waiting

    @property
    def waiting(self) -> list[JobSeen]:
        """Jobs of a killed runner that neither run again nor have ended."""
        return [job for job in self._ours() if self.kind == "worker" and not self._is_back(job)]

    def component(self, seconds: float, state: str, *, restarted: bool) -> list[Line]:
        """The killed process as its supervisor sees it; `restarted` once that has noticed."""
        if not restarted or state == self._state:
            return []
        self._state = state
        words = {"starting": "is being started again", "ready": "is ready again"}
        if state not in words:
            return []
        return [Line(seconds, f"{self._label} {words[state]}", {"event": state, "component": self._label})]

    def database(self, seconds: float, *, answers: bool) -> list[Line]:
        """Whether Postgres answers us."""
        if answers is not self._silent:
            return []
        self._silent = not answers
        text = "Postgres answers again" if answers else "Postgres does not answer"
        return [Line(seconds, text, {"event": "database", "answers": answers})]

    def probe(self, seconds: float, job: JobSeen) -> list[Line]:
        """The job asked for after the kill is known to Postgres."""
        self._probe_job = job.job_id
        self._told.add(job.job_id)
        self._jobs[job.job_id] = job
        text = f"{job.name}, asked for after the kill, is accepted"
        return [Line(seconds, text, {"event": "accepted", "job_id": job.job_id})]

    def step(self, seconds: float, step: Step) -> list[Line]:
        """A transition of a watched job; one that is known is told once."""
        if step.version <= self._versions.get(step.job_id, 0):
            return []
        before = self._jobs[step.job_id]
        self._versions[step.job_id] = step.version
        self._jobs[step.job_id] = before._replace(state=step.state, attempt=step.attempt)
        if step.job_id not in self._told:
            return []
        facts = {"event": "job", **step._asdict(), "name": before.name}
        return [Line(seconds, f"{before.name} {self._words(step)}", facts)]

    def beginning(self, pid: int, *, wiped: bool) -> list[Line]:
        """What was killed, what it may mean, and what runs."""
        ours = self._ours()
        what = f"{self._label} (pid {pid}) is killed by SIGKILL"
        lines = [Line(0.0, what, {"event": "killed", "component": self._label, "pid": pid, "wiped": wiped})]
        lines.append(Line(0.0, WIPED if wiped else EXPECTED[self.kind], {"event": "expected"}))
        names = ", ".join(job.name for job in ours[:SHOWN]) + (" …" if len(ours) > SHOWN else "")
        where = "it ran" if self.kind == "worker" else "there"
        verb = "" if self.kind == "worker" else " is" if len(ours) == 1 else " are"
        count = plural(len(ours), "running job") if self.kind != "worker" else plural(len(ours), "job")
        text = f"{where}{verb} {count}" + (f": {names}" if ours else "")
        return [*lines, Line(0.0, text, {"event": "running", "jobs": [job.name for job in ours]})]

    def end(self, seconds: float, why: str = "") -> Line:
        """The verdict; `why`: what kept the job from being asked for."""
        ours = self._ours()
        again = [job for job in ours if job.attempt > self._before[job.job_id].attempt]
        states: dict[str, int] = {}
        for job in ours:
            states[job.state] = states.get(job.state, 0) + 1
        facts = {
            "event": "end",
            "well": self.is_well,
            "jobs": len(ours),
            "started_again": len(again),
            "waiting": [job.name for job in self.waiting],
            "states": states,
        }
        if not self.is_well:
            missing = self._missing() + [why] * bool(why)
            return Line(seconds, f"not well: {'; '.join(missing)}", facts)
        told = f"; of {plural(len(ours), 'job')} none is lost: {counted(states)}" if ours else ""
        told += f", {len(again)} started again" if again else ""
        return Line(seconds, f"all is well{told}", facts)

    def _ours(self) -> list[JobSeen]:
        return [self._jobs[job_id] for job_id in self._before]

    def _is_back(self, job: JobSeen) -> bool:
        again = job.attempt > self._before[job.job_id].attempt
        return job.state in JOB_TERMINAL or (again and job.state == "RUNNING")

    def _missing(self) -> list[str]:
        found = [] if self._state == "ready" else [f"{self._label} is not ready again"]
        found += ["Postgres does not answer"] * self._silent
        if self._probe and (self._probe_job is None or self._jobs[self._probe_job].state not in JOB_TERMINAL):
            found.append("the job asked for after the kill has not ended")
        if self.waiting:
            names = ", ".join(job.name for job in self.waiting[:SHOWN])
            found.append(f"{plural(len(self.waiting), 'job')} not running again: {names}")
        return found

    def _words(self, step: Step) -> str:
        reason = reason_words(step.reason, step.exit_code)
        because = f": {reason}" if reason else ""
        again = self._before.get(step.job_id)
        once_more = " again" if again is not None and step.attempt > again.attempt else ""
        match step.state:
            case "QUEUED":
                return f"is queued{' again' if reason else ''}{because}"
            case "RETRYING":
                return f"waits for its next try{because}"
            case "ASSIGNED":
                return f"is given to a runner, attempt {step.attempt}"
            case "RUNNING":
                return f"runs{once_more}, attempt {step.attempt}"
            case "SUCCESS":
                return "ends well"
            case _:
                return f"is {step.state}{because}"
