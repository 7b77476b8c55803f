from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from penstock.events.jobs import Grant
from penstock.events.logs import FrameHead, Line
from penstock.events.workers import Stored
from penstock.testing.clock import ManualClock
from penstock_services.runner import shipping
from penstock_services.runner.shipping import LogShipper
from penstock_services.runner.spool import Spool

RETRY = 180.0


class Wire:
    """A transport's log half; the test holds acknowledgements back or makes it fail."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[tuple[FrameHead, bytes]]] = asyncio.Queue()
        self.open = asyncio.Event()
        self.open.set()
        self.errors: list[Exception] = []

    async def frames(self, frames: list[tuple[FrameHead, bytes]]) -> None:
        self.batches.put_nowait(list(frames))
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)


def text(payload: bytes) -> list[str]:
    lines = msgspec.json.Decoder(Line).decode_lines(zstandard.ZstdDecompressor().decompress(payload))
    return [line.text for line in lines]


def files(folder: Path) -> list[int]:
    """Sizes of the files that are not empty."""
    return [size for path in folder.iterdir() if (size := path.stat().st_size)]


class Ship:
    def __init__(self, folder: Path, clock: ManualClock, limit: int = 1 << 20, session: str = "s") -> None:
        self.wire = Wire()
        self.spool = Spool(folder, limit)
        self.shipper = LogShipper(self.spool, self.wire, session, clock, RETRY)  # type: ignore[arg-type]


def in_loop(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(body())


def test_lines_go_out_and_the_end_closes_the_log(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        ship, grant = Ship(tmp_path, clock), new_grant()
        output = ship.shipper.open(grant, pytest.fail)
        output.write("stdout", b"hello\nwor")
        ((head, payload),) = await ship.wire.batches.get()
        assert text(payload) == ["hello"]
        assert (head.job_id, head.attempt, head.session_id) == (grant.job_id, 1, "s")
        assert (head.first_seq, head.lines, head.end) == (1, 1, False)
        assert head.first_ts == head.last_ts == int(clock.now() * 1000)
        assert output.close() == 2
        ((head, payload),) = await ship.wire.batches.get()
        assert text(payload) == ["wor"]
        assert (head.first_seq, head.lines, head.end) == (2, 1, True)
        ship.shipper.stored([Stored(grant.job_id, 1, 2)])
        assert files(tmp_path) == []
        await ship.shipper.flush(1)

    in_loop(body)


def test_an_attempt_without_output_leaves_no_trace(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        ship = Ship(tmp_path, clock)
        assert ship.shipper.open(new_grant(), pytest.fail).close() == 0
        assert files(tmp_path) == []
        assert ship.spool.logs == {}

    in_loop(body)


def test_what_comes_while_a_batch_is_in_flight_makes_the_next_batch(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        ship = Ship(tmp_path, clock)
        ship.wire.open.clear()
        output = ship.shipper.open(new_grant(), pytest.fail)
        output.write("stdout", b"a\n" * 3000)
        before = await ship.wire.batches.get()
        assert len(before) > 1
        output.write("stdout", b"b\n" * 3000)
        output.close()
        ship.wire.open.set()
        heads = [head for head, _payload in await ship.wire.batches.get()]
        assert len(heads) > 1
        assert heads[0].first_seq == before[-1][0].last_seq + 1
        assert heads[-1].end
        await ship.shipper.flush(1)

    in_loop(body)


def test_a_batch_that_was_not_delivered_is_sent_again_before_any_other(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping, "RETRY_SECONDS", 0)

    async def body() -> None:
        ship = Ship(tmp_path, clock)
        ship.wire.errors = [shipping.RetryLater("away")]
        output = ship.shipper.open(new_grant(), pytest.fail)
        output.write("stdout", b"a\n")
        await ship.wire.batches.get()
        output.close()
        again = await ship.wire.batches.get()
        assert [head.first_seq for head, _payload in again] == [1, 2]
        await ship.shipper.flush(1)

    in_loop(body)


def test_frames_without_stored_are_sent_again_after_a_while(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        ship, grant = Ship(tmp_path, clock), new_grant()
        ship.shipper.open(grant, pytest.fail).write("stdout", b"a\n")
        first = await ship.wire.batches.get()
        await ship.shipper.flush(1)
        clock.advance(RETRY)
        ship.shipper.tick()
        assert ship.wire.batches.empty()
        clock.advance(1)
        ship.shipper.tick()
        ship.shipper.tick()
        assert await ship.wire.batches.get() == first
        await ship.shipper.flush(1)
        assert ship.wire.batches.empty(), "once, however often it was asked"
        ship.shipper.stored([Stored(grant.job_id, 1, 1)])
        clock.advance(2 * RETRY)
        ship.shipper.tick()
        assert ship.wire.batches.empty()

    in_loop(body)


def test_all_that_is_not_stored_is_sent_again_when_the_carrier_began_anew(
    tmp_path: Path, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        it = Ship(tmp_path, ManualClock())
        output = it.shipper.open(new_grant(), lambda: None)
        output.write("stdout", b"one\n")
        assert [text(payload) for _, payload in await it.wire.batches.get()] == [["one"]]
        it.wire.open.clear()
        output.write("stdout", b"two\n")
        assert [text(payload) for _, payload in await it.wire.batches.get()] == [["two"]]
        it.shipper.send_again()  # while the second is on its way
        it.wire.open.set()
        assert [text(payload) for _, payload in await it.wire.batches.get()] == [["one"], ["two"]]
        await it.shipper.flush(1)

    in_loop(body)


def test_the_next_process_sends_what_was_left_under_its_own_session(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        old, grant = Ship(tmp_path, clock), new_grant()
        output = old.shipper.open(grant, pytest.fail)
        output.write("stdout", b"a\n")
        output.close()
        await old.shipper.flush(1)
        new = Ship(tmp_path, clock, session="s2")
        new.shipper.resume()
        frames = await new.wire.batches.get()
        assert {head.session_id for head, _payload in frames} == {"s2"}
        assert frames[-1][0].end
        new.shipper.stored([Stored(grant.job_id, 1, 1)])
        await new.shipper.flush(1)
        new.shipper.stored([Stored(grant.job_id, 1, 1)])
        assert files(tmp_path) == []

    in_loop(body)


def test_a_full_spool_holds_jobs_back_until_something_is_stored(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        ship, grant = Ship(tmp_path, clock, limit=10), new_grant()
        output = ship.shipper.open(grant, pytest.fail)
        assert not output.full
        output.write("stdout", b"a\n")
        await ship.wire.batches.get()
        assert output.full
        waiting = asyncio.create_task(output.room())
        await ship.shipper.flush(1)
        assert not waiting.done()
        ship.shipper.stored([Stored(grant.job_id, 1, 1)])
        await waiting
        assert not output.full

    in_loop(body)


def test_a_disk_that_takes_no_more_is_told_once(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        ship = Ship(tmp_path, clock)
        told: list[bool] = []
        output = ship.shipper.open(new_grant(), lambda: told.append(True))

        def full(*_anything: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(ship.spool, "append", full)
        output.write("stdout", b"a\n")
        output.write("stdout", b"b\n")
        assert output.close() == 2
        assert told == [True]

    in_loop(body)


def test_a_frame_that_cannot_be_sent_does_not_hold_up_the_others(
    tmp_path: Path, clock: ManualClock, new_grant: Callable[..., Grant]
) -> None:
    async def body() -> None:
        ship = Ship(tmp_path, clock)
        ship.wire.errors = [shipping.RejectInput([])]
        output = ship.shipper.open(new_grant(), pytest.fail)
        output.write("stdout", b"a\n")
        await ship.wire.batches.get()
        output.close()
        assert [head.first_seq for head, _payload in await ship.wire.batches.get()] == [2]
        await ship.shipper.flush(1)

    in_loop(body)
