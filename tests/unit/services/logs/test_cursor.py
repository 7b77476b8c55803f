"""A reader gets every line once, in order, wherever it lies when it is read."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import RetryLater
from penstock.objects.memory import MemoryObjects
from penstock.store.logs import IndexItem, LogKey, LogState
from penstock.testing.log_frames import as_read, frame, log_lines
from penstock.testing.log_index import ModelIndex
from penstock_services.logs import cursor as module
from penstock_services.logs.archive import put_chunks
from penstock_services.logs.cursor import Cursor
from penstock_services.logs.decide import Limits
from penstock_services.logs.frames import read_frame
from penstock_services.logs.library import Library, States
from penstock_services.logs.memory import Memory

JOB = "01890000-0000-7000-8000-000000000001"
KEY = (JOB, 1)


class AwayIndex(ModelIndex):
    """An index that may be away."""

    away = False
    takes = 0.0
    """Seconds to an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = threading.Event()
        """Cleared: it hangs."""
        self.answers.set()

    def states(self, keys: Sequence[LogKey]) -> dict[LogKey, LogState]:
        self.answers.wait()
        time.sleep(self.takes)
        if self.away:
            raise RetryLater("away", component="postgres")
        return super().states(keys)

    def owner(self, partition: int) -> str | None:
        return None


class Scene:
    """One log, and what happens to it."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.memory = Memory(Limits(400, 10, 30), 1024 * 1024)
        self.memory.assign([0])
        self.index = AwayIndex()
        self.objects = MemoryObjects()
        self.library = Library(self.memory, self.index, self.objects, threads, 60)
        self.now = 0.0
        self._offset = 0

    def write(self, first: int, last: int, *, end: bool = False) -> None:
        """Lines come."""
        record = as_read(frame(JOB, first, last, end=end), self._offset)
        self._offset += 1
        self.memory.read(record)
        self.memory.take(read_frame(record, self.now))
        self.library.watch.wake([KEY])

    def ask(self) -> None:
        self.memory.know(self.index.heads(self.memory.unknown()))

    def store(self, seconds: float = 11) -> None:
        """What is in memory is stored."""
        self.ask()
        self.now += seconds
        for cut in self.memory.cuts(self.now, 8):
            assert self.index.index([put_chunks(self.objects, cut, "")])
            self.memory.stored(cut, cut.after(), won=True)
        self.library.watch.wake([KEY])

    def close(self, end_seq: int | None) -> None:
        """The rest is given up on."""
        head = self.index.heads([KEY])[KEY]
        item = IndexItem(
            "default", *KEY, 0, lines_before=head.lines, lines=head.lines, last_seq=head.last_seq,
            end_seq=end_seq, closes=True,
        )  # fmt: skip
        assert self.index.index([item])
        self.memory.know(self.index.heads([KEY]))
        self.library.watch.wake([KEY])

    def finish(self, last_seq: int | None, state: str = "SUCCESS", seconds: float = 1) -> None:
        """The attempt is over."""
        self.index.ended[KEY] = (state, last_seq, seconds)

    async def read(self, seq: int = 1, *, follow: bool = True) -> bytes:
        """All that a reader gets."""
        return b"".join([piece async for piece in Cursor(self.library, KEY, seq).read(follow=follow)])


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def scene(threads: ThreadPoolExecutor) -> Scene:
    return Scene(threads)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_ASK_SECONDS", "LAST_ASK_SECONDS", "FIRST_STATE_SECONDS"):
        monkeypatch.setattr(module, name, 0.001)


def end(**fields: object) -> bytes:
    return msgspec.json.encode({"end": True, **fields}) + b"\n"


async def test_stored_then_memory_then_live(scene: Scene) -> None:
    scene.write(1, 5)
    scene.store()
    scene.write(6, 9)
    reader = Cursor(scene.library, KEY, 1).read(follow=True)
    got = await anext(reader)
    assert got == log_lines(1, 5)
    assert await anext(reader) == log_lines(6, 9)
    assert await anext(reader) == b""
    scene.store()
    scene.write(10, 12)
    assert await anext(reader) == log_lines(10, 12)
    scene.finish(12)
    scene.write(13, 12, end=True)
    assert [piece async for piece in reader if piece] == [end(last_seq=12, state="SUCCESS")]


@pytest.mark.parametrize("seq", [1, 3, 5, 6, 7, 9, 10, 99])
async def test_any_line_may_be_the_first(scene: Scene, seq: int) -> None:
    scene.write(1, 2)
    scene.write(3, 5)
    scene.store()
    scene.write(6, 9, end=True)
    scene.finish(9)
    expected = log_lines(seq, 9) + end(last_seq=9, state="SUCCESS")
    assert await scene.read(seq) == expected
    scene.store()
    assert await scene.read(seq) == expected
    assert await scene.read(seq, follow=False) == expected
    scene.memory.forget_idle(1e9)
    assert await scene.read(seq) == expected


async def test_without_follow_it_ends_with_what_is_there(scene: Scene) -> None:
    assert await scene.read(follow=False) == b""
    scene.write(1, 5)
    assert await scene.read(follow=False) == log_lines(1, 5)
    scene.store()
    scene.write(8, 9)
    assert await scene.read(follow=False) == log_lines(1, 5)
    assert await scene.read(8, follow=False) == log_lines(8, 9)


async def test_a_gap_is_waited_for(scene: Scene) -> None:
    scene.write(1, 2)
    scene.write(5, 6)
    scene.store(31)
    assert scene.index.heads([KEY])[KEY].gaps == [(3, 4)]
    reader = Cursor(scene.library, KEY, 1).read(follow=True)
    assert await anext(reader) == log_lines(1, 2)
    assert await anext(reader) == b""
    scene.write(3, 4)
    scene.store()
    scene.finish(6)
    scene.write(7, 6, end=True)
    assert b"".join([piece async for piece in reader]) == log_lines(3, 6) + end(last_seq=6, state="SUCCESS")


async def test_a_log_that_was_given_up_on_jumps_over_what_is_missing(scene: Scene) -> None:
    scene.write(1, 2)
    scene.write(5, 6)
    scene.store(31)
    reader = Cursor(scene.library, KEY, 1).read(follow=True)
    assert await anext(reader) == log_lines(1, 2)
    assert await anext(reader) == b""
    scene.finish(8, "FAILED", 61)
    scene.close(8)
    last = end(last_seq=6, state="FAILED", incomplete=True, missing=4)
    assert b"".join([piece async for piece in reader]) == log_lines(5, 6) + last
    scene.write(7, 8)
    scene.store()
    last = end(last_seq=8, state="FAILED", incomplete=True, missing=2)
    assert await scene.read() == log_lines(1, 2) + log_lines(5, 8) + last
    scene.write(3, 4)
    scene.store()
    assert await scene.read() == log_lines(1, 8) + end(last_seq=8, state="FAILED")


async def test_how_much_is_missing_may_be_unknown(scene: Scene) -> None:
    scene.write(1, 2)
    scene.store()
    scene.finish(None, "QUEUED", 61)
    scene.close(None)
    assert await scene.read() == log_lines(1, 2) + end(last_seq=2, state="QUEUED", incomplete=True)


async def test_an_attempt_without_output_ends_when_its_report_says_so(scene: Scene) -> None:
    reader = Cursor(scene.library, KEY, 1).read(follow=True)
    assert await anext(reader) == b""
    scene.finish(0)
    assert b"".join([piece async for piece in reader]) == end(last_seq=0, state="SUCCESS")


@pytest.mark.parametrize(("last_seq", "fields"), [(4, {"missing": 4}), (None, {})])
async def test_a_log_of_which_nothing_ever_came(
    scene: Scene, last_seq: int | None, fields: dict[str, int]
) -> None:
    scene.finish(last_seq, "FAILED", 59)
    assert await scene.read(follow=False) == b""
    scene.finish(last_seq, "FAILED", 61)
    assert await scene.read() == end(last_seq=0, state="FAILED", incomplete=True, **fields)


async def test_the_end_waits_for_the_state_but_not_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.write(1, 2, end=True)
    reader = asyncio.create_task(scene.read())
    for _ in range(5):
        await asyncio.sleep(0)
    scene.finish(2, "FAILED")
    assert await reader == log_lines(1, 2) + end(last_seq=2, state="FAILED")
    del scene.index.ended[KEY]
    monkeypatch.setattr(module, "STATE_SECONDS", 0.0)
    assert await scene.read() == log_lines(1, 2) + end(last_seq=2)
    assert await scene.read(follow=False) == log_lines(1, 2) + end(last_seq=2)


async def test_with_postgres_away_memory_is_still_read(scene: Scene) -> None:
    scene.index.away = True
    with pytest.raises(RetryLater):
        await scene.read(follow=False)
    scene.write(1, 5)
    reader = Cursor(scene.library, KEY, 2).read(follow=True)
    assert await anext(reader) == log_lines(2, 5)
    assert await anext(reader) == b""
    scene.write(6, 7, end=True)
    assert await anext(reader) == log_lines(6, 7)
    scene.index.away = False
    scene.finish(7)
    assert b"".join([piece async for piece in reader]) == end(last_seq=7, state="SUCCESS")


async def test_with_postgres_hanging_memory_is_read_and_followed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.01)
    scene.index.answers.clear()
    try:
        scene.write(1, 5)
        reader = Cursor(scene.library, KEY, 2).read(follow=True)
        assert await anext(reader) == log_lines(2, 5)
        monkeypatch.setattr(module, "ANSWER_SECONDS", 600.0)
        for number in (6, 7, 8):
            assert await anext(reader) == b""
            following = asyncio.ensure_future(anext(reader))
            await asyncio.sleep(0.01)  # it asks again, and is not answered
            scene.write(number, number, end=number == 8)
            assert await following == log_lines(number, number)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(reader)  # the end has no state yet
    finally:
        scene.index.answers.set()
    scene.finish(8)
    assert await scene.read(2) == log_lines(2, 8) + end(last_seq=8, state="SUCCESS")


@pytest.mark.parametrize("follow", [True, False])
async def test_answers_that_always_come_late_are_heard(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, *, follow: bool
) -> None:
    """All is stored, and memory knows nothing of it."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.001)
    scene.write(1, 5, end=True)
    scene.store()
    scene.finish(5)
    scene.memory.forget_idle(scene.now + 1000)
    assert scene.memory.view(KEY, 1) is None
    scene.index.takes = 0.02
    async with asyncio.timeout(10):
        assert await scene.read(follow=follow) == log_lines(1, 5) + end(last_seq=5, state="SUCCESS")


async def test_news_that_come_faster_than_answers_do_not_keep_a_reader_from_them(scene: Scene) -> None:
    scene.write(1, 5, end=True)
    scene.store()
    scene.finish(5)
    scene.memory.forget_idle(scene.now + 1000)
    scene.index.takes, scene.index.away = 0.02, True

    async def wake() -> None:
        while True:
            scene.library.watch.wake([KEY])
            await asyncio.sleep(0)

    waking = asyncio.ensure_future(wake())
    reader = Cursor(scene.library, KEY, 1).read(follow=True)
    assert await anext(reader) == b"", "nothing is known yet"
    scene.index.away = False
    async with asyncio.timeout(10):
        got = b"".join([piece async for piece in reader])
    assert got == log_lines(1, 5) + end(last_seq=5, state="SUCCESS")
    waking.cancel()


async def test_with_the_storage_away_a_reader_is_told(scene: Scene) -> None:
    scene.write(1, 5)
    scene.store()
    scene.objects.away = True
    with pytest.raises(RetryLater):
        await scene.read()


async def test_a_reader_that_leaves_is_not_woken_any_more(scene: Scene) -> None:
    reader = Cursor(scene.library, KEY, 1).read(follow=True)
    await anext(reader)
    assert scene.library.watch.watched({KEY}) == [KEY]
    await reader.aclose()
    assert scene.library.watch.watched({KEY}) == []


async def test_states_are_asked_for_together(scene: Scene) -> None:
    asked: list[int] = []

    async def query(keys: list[LogKey]) -> dict[LogKey, LogState]:
        asked.append(len(keys))
        await asyncio.sleep(0)
        return scene.index.states(keys)

    states = States(query)
    keys = [(JOB, attempt) for attempt in range(1, 6)]
    found = await asyncio.gather(*(states.ask(key) for key in [*keys, *keys]))
    assert [state.attempt for state in found] == [1, 2, 3, 4, 5] * 2
    assert asked == [5]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 19), max_size=8, unique=True),
    st.integers(1, 20),
    st.lists(st.sampled_from(["write", "write", "store", "forget", "look"]), max_size=40),
)
def test_no_gap_and_no_repeat_whatever_happens_between_two_looks(
    threads: ThreadPoolExecutor, cuts: list[int], seq: int, script: list[str]
) -> None:
    scene = Scene(threads)
    bounds = [0, *sorted(cuts), 20]
    frames = [(first + 1, last) for first, last in itertools.pairwise(bounds)]

    async def play() -> bytes:
        got = b""
        reader = Cursor(scene.library, KEY, seq).read(follow=True)
        todo = iter(frames)
        for action in script:
            if action == "write":
                for first, last in itertools.islice(todo, 1):
                    scene.write(first, last, end=last == 20)
            elif action == "store":
                scene.store()
            elif action == "forget":
                scene.memory.forget_idle(scene.now + 1000)
            elif not got.endswith(b'"state":"SUCCESS"}\n'):
                got += await anext(reader, b"")
        for first, last in todo:
            scene.write(first, last, end=last == 20)
        scene.finish(20)
        return got + b"".join([piece async for piece in reader])

    scene.finish(20)
    assert asyncio.run(play()) == log_lines(seq, 20) + end(last_seq=20, state="SUCCESS")
