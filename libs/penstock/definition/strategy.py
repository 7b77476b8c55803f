"""`strategy` of jobs: the jobs that their matrices make of them, within what a definition may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from penstock.definition import limits, shape, values
from penstock.definition.expressions import EXPRESSION, Cell, has_expression, nodes
from penstock.definition.matrix import SPLIT, Matrix, name_of, read_matrix
from penstock.definition.model import Hold
from penstock.definition.names import fault_in, normalize
from penstock.definition.report import Report
from penstock.definition.source import Path, quote

KEY: Final = "strategy"


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """The strategy of one job."""

    key: str
    """Of the job in the file."""
    keys: Mapping[str, object]
    """All that its cells may have."""
    cells: Mapping[str, Cell]
    """By their names, in their order; none when the matrix is no good."""
    fail_fast: bool
    max_parallel: int | None

    @property
    def holds(self) -> tuple[Hold, ...]:
        """What each cell must hold so that no more than `max_parallel` run at once."""
        return (("matrix", self.key, self.max_parallel),) if self.max_parallel else ()


def without_strategy(job: Mapping[str, Any]) -> dict[str, Any]:
    """What all cells of a job have of it."""
    return {key: value for key, value in job.items() if key != KEY}


def read_strategies(report: Report, jobs: Mapping[str, Any], max_jobs: int) -> dict[str, Strategy]:
    """The strategies of all jobs that have one, by the keys of the jobs.

    They have few enough cells that all jobs together may be made. When one has too many, that is reported; it
    has none, and those after it are not read.
    """
    written = {key: job for key, job in jobs.items() if isinstance(job, dict) and KEY in job}
    if not written:
        return {}
    expansion = _Expansion(report, jobs, max_jobs)
    return {key: _read_strategy(report, key, job, expansion) for key, job in written.items()}


def _read_strategy(report: Report, key: str, job: Mapping[str, Any], expansion: _Expansion) -> Strategy:
    if expansion.over:
        return Strategy(key=key, keys={}, cells={}, fail_fast=True, max_parallel=None)
    path: Path = ("jobs", key, KEY)
    problems = report.count
    given = values.read_object(report, path, job[KEY], _STRATEGY, shape.STRATEGY)
    matrix: Matrix | None = given.get("matrix")
    if matrix is None and report.count == problems:
        hint = "such as `matrix: {python: ['3.12', '3.13']}`"
        report.add(path, "`strategy` needs `matrix`", hint, key=True)
    readable = matrix is not None and report.count == problems
    return Strategy(
        key=key,
        keys=matrix.keys if matrix else {},
        cells=expansion.cells((*path, "matrix"), key, job, matrix) if matrix and readable else {},
        fail_fast=given.get("fail-fast", True),
        max_parallel=given.get("max-parallel"),
    )


class _Expansion:
    """Makes the cells of one matrix after the other, until there are too many."""

    def __init__(self, report: Report, jobs: Mapping[str, Any], max_jobs: int) -> None:
        self._report = report
        self._taken = set(map(normalize, jobs))
        """Normalized names of all jobs and cells."""
        self._max_jobs = max_jobs
        self._jobs = len(jobs)
        self._bytes = 0
        self._nodes = 0
        self._work = 0
        self.over = False
        """Whether no more can be made."""

    def cells(self, path: Path, key: str, job: Mapping[str, Any], matrix: Matrix) -> dict[str, Cell]:
        """The cells of a matrix by their names; none when they are too many, or too large."""
        most = limits.MAX_MATRIX_CELLS
        if not matrix.exclude and matrix.product > most:
            message = f"the matrix has {_shown(matrix.product)} cells; {most} is the limit"
            self._report.add(path, message, SPLIT, key=True)
            return {}
        self._work += matrix.work
        if self._work > limits.MAX_MATRIX_WORK:
            message = f"{_shown(matrix.product)} combinations are too many to look for those to exclude"
            self._stop(path, message, SPLIT)
            return {}
        cells = matrix.cells()
        if len(cells) > most:
            message = f"the matrix has more than {most} cells, which is the limit"
            self._report.add(path, message, SPLIT, key=True)
            return {}
        if not cells:
            hint = "exclude less"
            self._report.add((*path, "exclude"), "it leaves no cells of the matrix", hint, key=True)
        return self._named(path, key, cells) if self._afford(path, job, cells) else {}

    def _afford(self, path: Path, job: Mapping[str, Any], cells: list[Cell]) -> bool:
        """Whether so many more jobs may be, and may be so large."""
        self._jobs += len(cells) - 1
        if self._jobs > self._max_jobs:
            hint = limits.MORE_JOBS if self._max_jobs < limits.MAX_JOBS_JSON else ""
            message = (
                f"with the cells up to here there are {self._jobs:,} jobs; {self._max_jobs:,} is the limit"
            )
            self._stop(path, message, hint)
            return False
        rest = without_strategy(job)
        written = orjson.dumps(rest)
        longest = max((len(value.text.encode()) for cell in cells for value in cell.values()), default=0)
        self._nodes += len(cells) * sum(nodes(item) for item in rest.values() if has_expression(item))
        self._bytes += len(cells) * (len(written) + written.count(EXPRESSION.encode()) * longest)
        if self._bytes > limits.MAX_EXPANDED_BYTES:
            hint = f"{limits.MAX_EXPANDED_BYTES:,} bytes is the limit; put large scripts into the repository"
            self._stop(path, "with the cells up to here the jobs are too large", hint)
            return False
        if self._nodes > limits.MAX_FILLED_NODES:
            hint = "use expressions in `env`, and plain variables in all else"
            message = f"with the cells up to here there are {self._nodes:,} values to fill in"
            self._stop(path, f"{message}; {limits.MAX_FILLED_NODES:,} is the limit", hint)
            return False
        return True

    def _stop(self, path: Path, message: str, hint: str) -> None:
        self._report.add(path, message, hint, key=True)
        self.over = True

    def _named(self, path: Path, key: str, cells: list[Cell]) -> dict[str, Cell]:
        """The cells by their names, up to the first that cannot have its name."""
        found: dict[str, Cell] = {}
        own: set[str] = set()
        for cell in cells:
            name = name_of(key, cell)
            normal = normalize(name)
            fault = "" if fault_in(key) else fault_in(name)
            if fault:
                message, hint = f"{fault}, with the values of the matrix", "use shorter values"
            elif normal in own:
                message, hint = f"two cells are named {quote(name)}", "give each value once"
            elif normal in self._taken and name != key:
                message, hint = f"a cell is named {quote(name)}, as another job", "rename one of the jobs"
            else:
                own.add(normal)
                found[name] = cell
                continue
            self._report.add(path, message, hint, key=True)
            break
        self._taken |= own
        return found


def _shown(count: int) -> str:
    return f"{count:,}" if count < 1_000_000 else "over 1,000,000"


def _read_max_parallel(report: Report, path: Path, value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= limits.MAX_JOBS_JSON:
        return value
    report.expected(path, "a whole number from 1", value)
    return None


_STRATEGY: Final[dict[str, values.Reader]] = {
    "matrix": read_matrix,
    "fail-fast": values.read_flag,
    "max-parallel": _read_max_parallel,
}
