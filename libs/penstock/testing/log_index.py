"""The index of logs as a model: what `store.logs` does, over plain dicts.

A test checks it against Postgres by random sequences; simulations use it in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.store.logs import Chunk, Head, IndexItem, LogKey, LogState


class ModelIndex:
    """Heads and chunks of logs. `ended`: state, last line and age in seconds of attempts that ended."""

    def __init__(self) -> None:
        self._heads: dict[LogKey, Head] = {}
        self._chunks: dict[LogKey, dict[int, Chunk]] = {}
        self.ended: dict[LogKey, tuple[str, int | None, float]] = {}

    def index(self, items: Sequence[IndexItem]) -> set[LogKey]:
        """See `store.logs.index`."""
        won: set[LogKey] = set()
        for item in items:
            old = self._heads.get(item.key, Head())
            if old.lines != item.lines_before:
                continue
            chunks = self._chunks.setdefault(item.key, {})
            for chunk in item.chunks:
                assert chunk.first_seq not in chunks
                chunks[chunk.first_seq] = chunk
            end_seq = item.end_seq if old.end_seq is None else old.end_seq
            closed = old.closed or item.closes or item.lines == end_seq
            self._heads[item.key] = Head(item.lines, item.last_seq, end_seq, closed, self._gaps(item.key))
            won.add(item.key)
        return won

    def heads(self, keys: Sequence[LogKey]) -> dict[LogKey, Head]:
        """See `store.logs.heads`."""
        return {key: self._heads.get(key, Head()) for key in keys}

    def states(self, keys: Sequence[LogKey]) -> dict[LogKey, LogState]:
        """See `store.logs.states`."""
        return {key: self._state(key) for key in keys}

    def chunks(self, key: LogKey, from_seq: int) -> list[Chunk]:
        """See `store.logs.chunks`."""
        found = sorted(self._chunks.get(key, {}).items())
        return [chunk for _, chunk in found if chunk.last_seq >= from_seq]

    def _gaps(self, key: LogKey) -> list[tuple[int, int]]:
        gaps: list[tuple[int, int]] = []
        reached = 0
        for chunk in self.chunks(key, 1):
            if chunk.first_seq > reached + 1:
                gaps.append((reached + 1, chunk.first_seq - 1))
            reached = chunk.last_seq
        return gaps

    def _state(self, key: LogKey) -> LogState:
        head = self._heads.get(key)
        state, reported_seq, seconds = self.ended.get(key, (None, None, None))
        return LogState(
            *key,
            lines=None if head is None else head.lines,
            last_seq=None if head is None else head.last_seq,
            end_seq=None if head is None else head.end_seq,
            closed=None if head is None else head.closed,
            state=state,
            reported_seq=reported_seq,
            ended_seconds=seconds,
        )
