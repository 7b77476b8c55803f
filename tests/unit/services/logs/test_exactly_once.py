"""Whatever is repeated, recut, lost for a while, or killed between two steps: every line is stored once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.events.logs import FrameHead, frame_head
from penstock.kafka.records import Record
from penstock.logs.reading import stored_lines
from penstock.objects.memory import MemoryObjects
from penstock.runtime.metrics import Metrics
from penstock.store.logs import IndexItem
from penstock.testing.log_frames import as_read, frame, log_lines
from penstock.testing.log_index import ModelIndex
from penstock_services.logs.archive import Indexed, Known, put_chunks
from penstock_services.logs.buffers import Cut
from penstock_services.logs.decide import Limits
from penstock_services.logs.handle import Step, settle, take
from penstock_services.logs.loop import TOPIC
from penstock_services.logs.memory import Memory

JOB = "01890000-0000-7000-8000-000000000001"
KEY = (JOB, 1)
LAST = 15
METRICS = Metrics()


class Replica:
    """An owner of the partition, step by step; what it holds is lost when it is killed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.memory = Memory(Limits(400, 10, 30), 64 * 1024)
        self.memory.assign([0])
        self._next = world.committed
        self._cuts: list[Cut] = []
        self._stored: list[tuple[Cut, IndexItem]] = []

    def read(self, count: int) -> None:
        batch = self._world.log[self._next : self._next + count]
        self._next += len(batch)
        self._finish(take(self.memory, batch, self._world.now, self._world.now, METRICS))

    def ask(self) -> None:
        keys = self.memory.unknown()
        self._finish(settle(self.memory, [Known(self._world.index.heads(keys), asked=True)]))

    def cut(self) -> None:
        self._cuts += self.memory.cuts(self._world.now, 8)

    def drain(self) -> None:
        self._cuts += self.memory.drain(self._world.now, 8)

    def put(self) -> None:
        self._stored += [(cut, put_chunks(self._world.objects, cut, "cluster")) for cut in self._cuts]
        self._cuts = []

    def index(self) -> None:
        for cut, item in self._stored:
            won = bool(self._world.index.index([item]))
            head = cut.after() if won else self._world.index.heads([cut.key])[cut.key]
            assert self._world.index.heads([cut.key])[cut.key] == head
            self._finish(settle(self.memory, [Indexed(cut, head, won)]))
        self._stored = []

    def begin(self) -> None:
        """All up to the index."""
        self.ask()
        self.cut()
        self.put()

    def store(self) -> None:
        """All of it."""
        self.begin()
        self.index()

    def lose_and_regain(self) -> None:
        """The partition goes and comes back; what is on its way stays so."""
        self.memory.revoke([0])
        self.memory.assign([0])
        self._next = self._world.committed

    def commit(self) -> None:
        self._world.committed = max(
            self._world.committed, self.memory.done(TOPIC).get((TOPIC, 0), self._world.committed)
        )

    def _finish(self, step: Step) -> None:
        assert not step.dead
        for _, stored in step.answers:
            self._world.told(stored.seq)


class World:
    """A topic of one partition, the storage, the index, and a runner that keeps what is not stored."""

    def __init__(self, cuts: Sequence[int], lost: set[int], end_alone: bool) -> None:
        bounds = [0, *sorted(cuts), LAST]
        self.frames = [
            frame(JOB, begin + 1, end, end=end == LAST and not end_alone)
            for begin, end in itertools.pairwise(bounds)
            if end > begin
        ]
        if end_alone:
            self.frames.append(frame(JOB, LAST + 1, LAST, end=True))
        self.log: list[Record] = []
        self.objects = MemoryObjects()
        self.index = ModelIndex()
        self.committed = 0
        self.now = 0.0
        self.freed = 0
        for place, outgoing in enumerate(self.frames):
            if place not in lost:
                self.log.append(as_read(outgoing, len(self.log)))

    def send_again(self) -> None:
        """The runner sends what it was not told to be stored."""
        for outgoing in self.frames:
            if self._head(outgoing.headers).last_seq > self.freed or self._head(outgoing.headers).end:
                self.log.append(as_read(outgoing, len(self.log)))

    def send_recut(self, place: int) -> None:
        """Some lines in a frame of other bounds."""
        first, last = 1 + 5 * place % LAST, min(LAST, 1 + 5 * place % LAST + place)
        self.log.append(as_read(frame(JOB, first, last, end=last == LAST), len(self.log)))

    def told(self, seq: int) -> None:
        """A runner that is told too much would lose lines."""
        assert seq <= self.index.heads([KEY])[KEY].unbroken
        self.freed = max(self.freed, seq)

    def lines(self) -> bytes:
        pieces = stored_lines(self.objects, lambda seq: self.index.chunks(KEY, seq), 1, over_gaps=True)
        return b"".join(piece.lines for piece in pieces)

    def _head(self, headers: list[tuple[str, bytes]]) -> FrameHead:
        return frame_head([*headers])


ACTIONS: dict[str, Callable[[Replica], None]] = {
    "ask": Replica.ask,
    "cut": Replica.cut,
    "drain": Replica.drain,
    "put": Replica.put,
    "index": Replica.index,
    "commit": Replica.commit,
    "begin": Replica.begin,
    "store": Replica.store,
    "regain": Replica.lose_and_regain,
}

actions = st.sampled_from([*ACTIONS, "read", "read", "read", "wait", "wait", "again", "recut", "kill"])
places = st.integers(0, 11)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(1, LAST - 1), max_size=5),
    st.one_of(st.just(set[int]()), st.sets(st.integers(0, 5), max_size=3)),
    st.booleans(),
    st.lists(places, max_size=3),
    st.lists(st.tuples(actions, st.integers(0, 1), places), min_size=10, max_size=60),
)
def test_every_line_once(
    cuts: list[int], lost: set[int], end_alone: bool, recut: list[int], script: list[tuple[str, int, int]]
) -> None:
    world = World(cuts, lost, end_alone)
    for place in recut:
        world.send_recut(place)
    # Two at once: one of them is an owner that does not know yet that it is none any more.
    replicas = [Replica(world), Replica(world)]
    for action, one, other in script:
        if action == "read":
            replicas[one].read(1 + other)
        elif action == "kill":
            replicas[one] = Replica(world)
        elif action == "wait":
            world.now += 15 * other
        elif action == "again":
            world.send_again()
        elif action == "recut":
            world.send_recut(other)
        else:
            ACTIONS[action](replicas[one])
    if lost:  # else what is in the topic must do
        world.send_again()
    last = Replica(world)
    last.read(10_000)
    for _ in range(3):
        world.now += 31
        last.store()
    last.commit()
    assert world.lines() == log_lines(1, LAST)
    head = world.index.heads([KEY])[KEY]
    assert (head.lines, head.last_seq, head.end_seq, head.closed) == (LAST, LAST, LAST, True)
    assert world.committed == len(world.log)
    assert last.memory.empty
    assert world.freed == LAST
