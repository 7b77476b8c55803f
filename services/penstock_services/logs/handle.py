"""The steps of the polling thread: take frames in, hand cuts out, take results in, answer the runners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from penstock.core.errors import DeadLetter
from penstock.events import topics
from penstock.events.logs import FrameHead, frame_headers
from penstock.events.workers import Control, Stored
from penstock.kafka import publish
from penstock.kafka.batches import Dead
from penstock.kafka.records import Outgoing, Record
from penstock.runtime.clock import rfc3339
from penstock.runtime.log import logger
from penstock.runtime.metrics import Metrics
from penstock.store.logs import LogKey
from penstock_services.logs.archive import Indexed, Known, Result
from penstock_services.logs.buffers import Cut
from penstock_services.logs.frames import Frame, read_frame
from penstock_services.logs.memory import Answer, Memory

ANSWERS_PER_RECORD: Final = 1000

log = logger(__name__)


class Step(NamedTuple):
    """What a step leaves to do: answers to send, records to park, logs whose readers may want to look."""

    answers: list[Answer]
    dead: list[Dead]
    changed: set[LogKey]


def take(memory: Memory, batch: Sequence[Record], at: float, now: float, metrics: Metrics) -> Step:
    """Take a batch of frames in, at monotonic time `at` and Unix time `now`."""
    step = Step([], [], set())
    for record in batch:
        if not memory.read(record):
            continue
        try:
            frame = _frame(record, at)
            answer = memory.take(frame)
        except DeadLetter as error:
            step.dead.append(Dead(record, str(error), type(error).__name__))
            continue
        if answer is not None:
            step.answers.append(answer)
            continue
        step.changed.add(frame.key)
        metrics.observe("penstock_log_visible_latency_seconds", max(0.0, now - frame.last_ts / 1000))
    return step


def settle(memory: Memory, results: Iterable[Result]) -> Step:
    """Take in what became of cuts and questions."""
    step = Step([], [], set())
    for result in results:
        if isinstance(result, Known):
            step.answers.extend(memory.know(result.heads))
            step.changed.update(result.heads)
            continue
        step.changed.add(result.cut.key)
        if isinstance(result, Indexed):
            step.answers.extend(memory.stored(result.cut, result.head, won=result.won))
        elif memory.refused(result.cut):
            step.dead.extend(Dead(record, result.reason, "PoisonRow") for record in _records(result.cut))
    return step


def answers_out(answers: Iterable[Answer], now: float, actor: str) -> list[Outgoing]:
    """Records that tell the runners what they may forget: one a session, the newest of each log."""
    sessions: dict[str, dict[LogKey, Stored]] = {}
    for session_id, stored in answers:
        sessions.setdefault(session_id, {})[stored.job_id, stored.attempt] = stored
    at = rfc3339(now)
    records: list[Outgoing] = []
    for session_id, by_log in sessions.items():
        items = list(by_log.values())
        for begin in range(0, len(items), ANSWERS_PER_RECORD):
            part = items[begin : begin + ANSWERS_PER_RECORD]
            records.append(
                publish.control(session_id, Control(session_id=session_id, stored=part), at, actor)
            )
    return records


def _frame(record: Record, at: float) -> Frame:
    try:
        return read_frame(record, at)
    except DeadLetter:
        raise
    except Exception as error:  # whatever is wrong with a frame, it must not stop its partition
        log.exception("frame cannot be read", place=record.place)
        raise DeadLetter(f"{type(error).__name__}: {error}") from error


def _records(cut: Cut) -> list[Record]:
    """The frames of a cut as the records that they were, for the dead letters."""
    return [
        Record(
            topics.LOGS_FRAMES.name,
            frame.partition,
            frame.offset,
            frame.job_id.encode(),
            frame.data,
            [*frame_headers(_head(frame))],
            frame.last_ts,
        )
        for frame in cut.frames
    ]


def _head(frame: Frame) -> FrameHead:
    return FrameHead(
        tenant=frame.tenant,
        job_id=frame.job_id,
        attempt=frame.attempt,
        session_id=frame.session_id,
        first_seq=frame.first_seq,
        lines=frame.last_seq - frame.first_seq + 1,
        raw_bytes=frame.raw_bytes,
        first_ts=frame.first_ts,
        last_ts=frame.last_ts,
        end=frame.end,
    )
