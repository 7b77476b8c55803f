"""The Kafka clusters ever met, and the history that a new one is given again (protocol §7, §8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from penstock.store.database import Database

SETTLE_SECONDS: Final = 15.0
"""A new cluster gets the history so long after it was met: by then no record is on its way any more that an
older client sent, so that what was lost with it is published after all."""
BUSY_SECONDS: Final = 30.0
"""Publishing a page takes less; beyond, another reaper publishes it, too."""


class Page(msgspec.Struct, frozen=True):
    """Status records of some pipelines and jobs, as transitions return them; the ids are the next page's
    beginning, None on the last one.
    """

    pipelines: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    pipeline_id: str | None
    job_id: str | None


def meet(db: Database, cluster_id: str, *, keep_seconds: float) -> bool:
    """Note that Kafka has this id now. True: what was in Kafka is lost,
    and not yet published again.
    """
    lost: bool = db.call("meet_cluster_v1", cluster_id, keep_seconds)["lost"]
    return lost


def take(db: Database, cluster_id: str, limit: int, *, settle_seconds: float = SETTLE_SECONDS) -> Page | None:
    """The next page for this cluster, of at most `limit` jobs; None when there is nothing to do now."""
    found = db.call("take_history_v1", cluster_id, settle_seconds, BUSY_SECONDS, limit)
    return None if found is None else msgspec.convert(found, Page)


def gave(db: Database, cluster_id: str, page: Page) -> None:
    """All of this page is acknowledged."""
    db.call("gave_history_v1", cluster_id, page.pipeline_id, page.job_id)


def history(db: Database, seconds: float, limit: int) -> Iterator[Page]:
    """Everything of the last `seconds`, in pages of at most `limit` jobs."""
    since = db.one("SELECT (clock_v1() - make_interval(secs => %s))::text", (seconds,))
    after: tuple[str | None, str | None] = (None, None)
    while True:
        page = msgspec.convert(db.call("history_page_v1", since, *after, limit), Page)
        yield page
        if page.pipeline_id is None:
            return
        after = (page.pipeline_id, page.job_id)
