"""Who waits for whom: needs and stages turned into edges, within limits and without cycles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from penstock.definition.limits import MAX_EDGES
from penstock.definition.model import Directory, Job
from penstock.definition.names import normalize
from penstock.definition.report import Report
from penstock.definition.source import Path, quote

Edge = tuple[int, int]
"""(parent, child): the child waits for the parent."""

MAX_CYCLES = 10
"""Cycles reported of one definition."""


def connect(report: Report, jobs: Sequence[Job], directory: Directory, stages: Sequence[str]) -> list[Edge]:
    """The edges of all jobs; who needs a job with a matrix needs all cells of it.

    Unknown and own names, too many edges and cycles go to the report.
    """
    parents = [_needed(report, job, at, directory) if job.needs else [] for at, job in enumerate(jobs)]
    report.speak_for(None)
    cells = directory.cells
    waits = _stage_waits(jobs, stages)
    explicit = sum(map(len, parents))
    if cells:
        explicit = sum(len(cells.get(first, (first,))) for found in parents for first in found)
    implied = sum(len(children) * len(before) for before, children in waits)
    if explicit + implied > MAX_EDGES:
        message = f"{explicit + implied:,} edges between jobs; {MAX_EDGES:,} is the limit"
        hint = "let many jobs wait for one `executor: noop` job that waits for many"
        if implied:
            message += (
                f" ({implied:,} of them because each job of a stage waits for each of the stage before)"
            )
        report.add(("stages",) if implied else ("jobs",), message, hint, key=True)
        return []
    if cells:
        parents = [[at for first in found for at in cells.get(first, (first,))] for found in parents]
    edges = [(parent, child) for child, found in enumerate(parents) for parent in found]
    edges += [(parent, child) for before, children in waits for child in children for parent in before]
    for cycle in find_cycles(len(jobs), edges):
        report.speak_for(cycle[0])
        _report_cycle(report, jobs, cycle)
    report.speak_for(None)
    return edges


def find_cycles(count: int, edges: Sequence[Edge], limit: int = MAX_CYCLES) -> list[list[int]]:
    """Up to `limit` cycles that share no job: in each, every job waits for the next, the last for the first.

    The first of a cycle is the job that stands first in the file.
    """
    # Most files name a job after what it needs; then there is nothing to search.
    if all(parent < child for parent, child in edges):
        return []
    parents: dict[int, list[int]] = {at: [] for at in range(count)}
    for parent, child in edges:
        parents[child].append(parent)
    cycles: list[list[int]] = []
    while len(cycles) < limit:
        try:
            TopologicalSorter(parents).prepare()
        except CycleError as error:
            # graphlib names predecessors first and the first one twice.
            cycle: list[int] = error.args[1][:0:-1]
            start = cycle.index(min(cycle))
            cycles.append(cycle[start:] + cycle[:start])
            gone = set(cycle)
            parents = {
                child: [parent for parent in found if parent not in gone]
                for child, found in parents.items()
                if child not in gone
            }
        else:
            break
    return cycles


def _needed(report: Report, job: Job, at: int, directory: Directory) -> list[int]:
    """The indexes of the jobs that a job names, each once; of a matrix that of its first cell."""
    index = directory.first
    own = index[normalize(job.matrix)] if job.matrix else at
    found: dict[int, None] = {}
    for position, name in enumerate(job.needs or ()):
        parent = index.get(normalize(name))
        if parent is not None and parent != own:
            found[parent] = None
        elif name:  # an empty one was reported when it was read
            report.speak_for(at)
            _report_need(report, job, position, directory)
    return list(found)


def _report_need(report: Report, job: Job, position: int, directory: Directory) -> None:
    index = directory.first
    name = (job.needs or ())[position]
    path = report.existing(("jobs", job.key, "needs", position))
    if normalize(name) in index:
        report.add(path, f"a job cannot need itself: {_arrows((job.key, job.key))}", "remove it")
        return
    key = name.partition(" (")[0]
    if index.get(normalize(key)) in directory.cells:
        hint = f"write {quote(key)}, which means all cells of its matrix"
    else:
        near = report.suggest(name, index)
        hint = f"did you mean {quote(near)}?" if near else "name a key of `jobs`"
    report.add(path, f"there is no job {quote(name)}", hint)


def _stage_waits(jobs: Sequence[Job], stages: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    """(jobs of a stage, those jobs of the next stage that wait for all of them).

    Stages without jobs are passed over. A job with `needs`, even empty ones, waits for those alone.
    """
    members: dict[str, list[int]] = {stage: [] for stage in stages}
    for at, job in enumerate(jobs):
        if job.stage in members:
            members[job.stage].append(at)
    filled = [found for found in members.values() if found]
    return [(before, [at for at in after if jobs[at].needs is None]) for before, after in pairwise(filled)]


def _report_cycle(report: Report, jobs: Sequence[Job], cycle: Sequence[int]) -> None:
    names = [jobs[at].key for at in (*cycle, cycle[0])]
    by_stage = [at for at in cycle if jobs[at].needs is None]
    hint = "remove one of these needs"
    if by_stage:
        hint += f"; {quote(jobs[by_stage[0]].key)} waits for the stage before its own"
    first = jobs[cycle[0]]
    path: Path = ("jobs", first.key) if first.needs is None else ("jobs", first.key, "needs")
    report.add(path, f"jobs wait for each other in a circle: {_arrows(names)}", hint, key=True)


def _arrows(names: Iterable[str]) -> str:
    shown = [name if len(name) <= 80 else name[:79] + "…" for name in names]
    if len(shown) > 24:
        left_out = f"({len(shown) - 20:,} more)"
        shown = [*shown[:16], left_out, *shown[-4:]]
    return " → ".join(shown)
