"""Kafka lost: its topics are made again, and the status topics get the recent history again (protocol §8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from penstock.core.errors import RetryLater
from penstock.kafka import publish
from penstock.kafka.batches import Outcome, Tick
from penstock.kafka.dlq import DlqCounter
from penstock.runtime.log import logger
from penstock.runtime.run import Process
from penstock.store import clusters
from penstock.store.changes import Changes
from penstock.store.database import Database
from penstock_services.reaper.settings import ReaperSettings

HOUR_SECONDS: Final = 3600.0
COUNT_SECONDS: Final = 30.0
"""How often the dead letters are counted."""

log = logger(__name__)


class ClusterWatch:
    """Looks after Kafka as a whole at every tick of the reaper. `cluster_id` asks nobody and may be empty."""

    def __init__(
        self,
        process: Process,
        db: Database,
        settings: ReaperSettings,
        cluster_id: Callable[[], str],
        dlq: DlqCounter,
        apply: Callable[[], list[str]],
    ) -> None:
        self._process = process
        self._db = db
        self._settings = settings
        self._cluster_id = cluster_id
        self._dlq = dlq
        self._apply = apply
        self._met = ""
        self._count_at = 0.0

    def meet(self, cluster_id: str) -> None:
        """This is the cluster now; make its topics if another was before. Raises RetryLater."""
        if cluster_id in ("", self._met):
            return
        keep = self._settings.republish_hours * HOUR_SECONDS
        lost = clusters.meet(self._db, cluster_id, keep_seconds=keep)
        if lost or self._met:
            log.warning("Kafka is another cluster", cluster=cluster_id, known=self._met)
            for words in self._apply():
                log.info("topic applied", change=words)
        self._met = cluster_id

    def around(self, tick: Tick) -> Tick:
        """A tick with these duties: before it, for without topics nothing can be sent, and behind it."""

        def whole(now: float) -> Outcome | None:
            self.meet(self._cluster_id())
            return self._behind(tick(now))

        return whole

    def _behind(self, outcome: Outcome | None) -> Outcome | None:
        self._count()
        page = self._take()
        if page is None:
            return outcome
        outcome = outcome or Outcome()
        done, cluster_id = outcome.done, self._met

        def acked() -> None:
            if done is not None:
                done()
            clusters.gave(self._db, cluster_id, page)

        records = publish.records(
            Changes(pipelines=page.pipelines, jobs=page.jobs), self._process.instance, replayed=True
        )
        log.info("history published again", records=len(records), last=page.pipeline_id is None)
        return Outcome([*outcome.records, *records], acked, outcome.dead, outcome.later)

    def _take(self) -> clusters.Page | None:
        if not self._met:
            return None
        return clusters.take(self._db, self._met, self._settings.republish_jobs)

    def _count(self) -> None:
        now = self._process.clock.monotonic()
        if now < self._count_at:
            return
        self._count_at = now + COUNT_SECONDS
        try:
            depths = self._dlq.depths()
        except RetryLater as error:
            log.warning("dead letters not counted", error=str(error))
            return
        for topic, depth in depths.items():
            self._process.metrics.set("penstock_dlq_records", depth, topic=topic)
