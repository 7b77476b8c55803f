"""Jobs that do nothing: for benchmarks of everything around them, and for joints of a pipeline."""

from __future__ import annotations

from penstock.events.jobs import Grant
from penstock_services.runner.executors import ExecutorPlace, Result

SUCCESS = Result(success=True, exit_code=0)


class NoopExecutor:
    """Succeeds at once. Such a job is granted, takes a slot and is journalled and reported like any other."""

    def __init__(self, place: ExecutorPlace) -> None:
        """Needs nothing of the place."""

    def run_now(self, grant: Grant) -> Result:  # noqa: ARG002 - the interface
        """Nothing to do."""
        return SUCCESS
