"""Whose turn it is at the locks."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.services.dispatcher.field import job

from penstock.core.lanes import LANES, Lane
from penstock.events.jobs import Hold, ReadyJob
from penstock_services.dispatcher.locks import MOST_AHEAD, NOBODY_AGED, Locks, Name


class Door:
    """Jobs at their locks; `free` are those whose turn it is."""

    def __init__(self, *jobs: ReadyJob, overtaking: int = 0) -> None:
        self.locks = Locks()
        self.locks.overtaking = {"default": overtaking} if overtaking else {}
        self.free: set[str] = set()
        self.aged_before = NOBODY_AGED
        for one in jobs:
            self.locks.add(one)
        self.look()

    def look(self, now: float = 0.0) -> set[str]:
        freed, held_back = self.locks.settle(now, self.aged_before)
        self.free |= {one.job_id for one in freed}
        self.free -= set(held_back)
        return self.free

    def claim(self, name: str) -> set[str]:
        assert name in self.free
        self.free.discard(name)
        self.locks.remove(name, claimed=True)
        return self.look()

    def end(self, name: str, *locks: str) -> set[str]:
        for lock in locks:
            self.locks.free(("default", "lock", lock), name)
        return self.look()


def test_an_exclusive_lock_goes_to_one_after_the_other() -> None:
    door = Door(job("a", at=1, locks="X"), job("b", at=2, locks="X"), job("c", at=3, locks="X"))
    assert door.free == {"a"}
    assert door.claim("a") == set()
    assert door.end("a", "x") == {"b"}
    assert door.claim("b") == set()


def test_readers_share_until_a_writer_waits_and_do_not_pass_it() -> None:
    door = Door(
        job("r1", at=1, locks="x"),
        job("r2", at=2, locks="x"),
        job("w", at=3, locks="X"),
        job("r3", at=4, locks="x"),
    )
    assert door.free == {"r1", "r2"}
    door.claim("r1")
    door.claim("r2")
    assert door.end("r1", "x") == set()
    assert door.end("r2", "x") == {"w"}
    door.claim("w")
    assert door.end("w", "x") == {"r3"}


def test_all_or_nothing_and_nobody_behind_is_let_past() -> None:
    """First come, first served at each lock: the younger one does not take what the older one waits for."""
    door = Door(
        job("a", at=1, locks="X"),
        job("b", at=2, locks="XY"),
        job("c", at=3, locks="Y"),
        job("d", at=4, locks="Z"),
    )
    assert door.free == {"a", "d"}
    door.claim("a")
    assert door.end("a", "x") == {"b", "d"}


def test_overtaking_is_bounded() -> None:
    door = Door(
        job("a", at=1, locks="X"), job("b", at=2, locks="XY"),
        *(job(f"c{n}", at=3 + n, locks="Y") for n in range(4)), overtaking=2,
    )  # fmt: skip
    assert door.free == {"a", "c0"}
    door.claim("a")
    for n in range(2):
        assert door.free == {f"c{n}"}
        door.claim(f"c{n}")
        door.end(f"c{n}", "y")
    assert door.free == set(), "two went before it: no more"
    assert door.end("a", "x") == {"b"}


def test_max_parallel_lets_so_many_through() -> None:
    cells = [job(f"c{n}", at=n, holds=(Hold("matrix", "p/test", 2),)) for n in range(4)]
    door = Door(*cells)
    assert door.free == {"c0", "c1"}
    door.claim("c0")
    assert door.free == {"c1"}
    door.claim("c1")
    door.locks.free(("default", "matrix", "p/test"), "c0")
    assert door.look() == {"c2"}


def test_who_cannot_enter_its_group_keeps_nobody_back_at_a_lock() -> None:
    """Found by the simulation: the pipeline in the group waited behind the one that waits for it."""
    group, lock = Hold("group", "deploy", 1), Hold("lock", "x", 1)
    door = Door(job("p0", at=1, pipeline="p", holds=(group,)))
    door.claim("p0")
    door.locks.add(job("q0", at=2, pipeline="q", holds=(group, lock)))
    door.locks.add(job("p1", at=3, pipeline="p", holds=(group, lock)))
    assert door.look() == {"p1"}
    door.claim("p1")
    door.end("p1", "x")
    door.locks.free(("default", "group", "deploy"), "p")
    assert door.look() == {"q0"}


def test_a_group_lets_one_pipeline_through_whole() -> None:
    group = (Hold("group", "deploy", 1),)
    door = Door(*(job(f"{p}{n}", at=n, pipeline=p, holds=group) for p in "pq" for n in range(2)))
    assert door.free == {"p0", "p1"}
    door.claim("p0")
    assert door.free == {"p1"}
    door.locks.add(job("p2", at=9, pipeline="p", holds=group))
    assert door.look() == {"p1", "p2"}, "a later job of the pipeline that has its turn"
    door.locks.free(("default", "group", "deploy"), "p0")
    assert door.look() == {"p1", "p2"}, "the pipeline holds it, not its job"
    door.claim("p1")
    door.claim("p2")
    door.locks.free(("default", "group", "deploy"), "p")
    assert door.look() == {"q0", "q1"}


def test_tenants_do_not_share_names() -> None:
    door = Door(job("a", locks="X"), job("b", locks="X", tenant="other"))
    assert door.free == {"a", "b"}


def test_a_higher_lane_goes_first_and_takes_the_turn_of_one_not_claimed_yet() -> None:
    door = Door(job("a", at=1, locks="X"))
    assert door.free == {"a"}
    door.locks.add(job("b", "critical", at=2, locks="X"))
    assert door.look() == {"b"}


def test_immediate_jobs_need_no_turn_but_free_locks() -> None:
    door = Door(
        job("a", at=1, locks="X"), job("b", at=2, locks="XY"), job("i", at=3, locks="Y", immediate=True)
    )
    assert door.free == {"a", "i"}, "the lock is free, though another waits for it"
    door.claim("i")
    door.locks.add(job("j", at=4, locks="Y", immediate=True))
    assert door.look() == {"a"}, "it is not free"
    assert door.end("i", "y") == {"a", "j"}


def test_a_closed_limit_lets_nobody_through_until_it_opens() -> None:
    door = Door(job("a", locks="x"))
    door.locks.close(("default", "lock", "x"), 5.0)
    assert door.look(1.0) == set()
    blocked = door.locks.blocked("a")
    assert blocked is not None
    assert blocked.opens_at == 5.0
    assert door.look(5.0) == {"a"}


def test_what_postgres_knows_of_holders_counts() -> None:
    door = Door(job("a", locks="X"))
    name: Name = ("default", "lock", "x")
    door.locks.held(name, {"someone": None})
    assert door.look() == set()
    blocked = door.locks.blocked("a")
    assert blocked is not None
    assert (blocked.holder, blocked.before, blocked.most) == ("someone", "", 1)
    door.locks.held(name, {})
    assert door.look() == {"a"}
    assert door.locks.blocked("a") is None


def test_names_that_nobody_waits_for_are_forgotten() -> None:
    door = Door(job("a", locks="XY"))
    assert sorted(door.locks.names()) == [("default", "lock", "x"), ("default", "lock", "y")]
    door.claim("a")
    assert door.locks.names() == []


def test_many_that_share_a_lock_and_find_no_room_keep_no_others_back() -> None:
    door = Door()
    for n in range(2 * MOST_AHEAD):
        door.locks.add(job(f"mac{n:04d}", at=n, locks="x"), "mac")
    door.locks.add(job("linux", at=9000, locks="x"), "linux")
    door.locks.add(job("writer", at=9001, locks="X"), "linux")
    door.locks.add(job("behind", at=9002, locks="x"), "linux")
    assert door.look() == {"linux"} | {f"mac{n:04d}" for n in range(MOST_AHEAD)}
    door.claim("linux")
    assert "writer" not in door.claim("mac0000")
    assert f"mac{MOST_AHEAD:04d}" in door.free


def test_who_waits_for_long_gets_one_of_so_many_grants_of_a_lock() -> None:
    """Between two of the others goes one of them at most; who has not waited for so long waits on."""
    door = Door()
    door.locks.age_every = 4
    door.aged_before = datetime.fromtimestamp(5, UTC)
    for name, at in (("a", 1), ("b", 2), ("young", 6)):
        door.locks.add(job(name, at=at, locks="X"))
    order: list[str] = []
    for n in range(20):
        door.locks.add(job(f"h{n}", "high", at=7 + n, locks="X"))
        (name,) = door.look()
        order.append(name)
        door.claim(name)
        door.end(name, "x")
    assert [order.index("a"), order.index("b")] == [4, 8]
    assert "young" not in order


def test_jobs_that_need_no_turn_do_not_pass_whom_the_next_grant_is_owed_to() -> None:
    """Each takes the lock while the one before still shares it: it is never free for the writer."""
    door = Door()
    door.locks.age_every = 4
    door.aged_before = datetime.fromtimestamp(5, UTC)
    door.locks.add(job("i00", at=6, locks="x", immediate=True))
    door.look()
    door.claim("i00")
    door.locks.add(job("w", at=1, locks="X"))
    for n in range(1, 20):
        door.locks.add(job(f"i{n:02d}", at=6 + n, locks="x", immediate=True))
        if f"i{n:02d}" not in door.look():
            assert n <= 4
            break
        door.claim(f"i{n:02d}")
        door.end(f"i{n - 1:02d}", "x")
    assert door.end(f"i{n - 1:02d}", "x") == {"w"}
    door.claim("w")
    assert door.end("w", "x") == {f"i{n:02d}"}


LOCKS = st.text("AaBbCc", min_size=1, max_size=3).filter(
    lambda text: len({one.lower() for one in text}) == len(text)
)
ARRIVALS = st.lists(st.tuples(LOCKS, st.sampled_from(LANES), st.booleans()), min_size=1, max_size=24)


@settings(deadline=None)
@given(ARRIVALS, st.integers(0, 3), st.integers(1, 4), st.data())
def test_no_lock_is_ever_held_against_the_rule_and_everybody_gets_through(
    arrivals: list[tuple[str, Lane, bool]], overtaking: int, age_every: int, data: st.DataObject
) -> None:
    """Claims and ends in any order, some of them old: nobody waits for ever, no ring comes to be."""
    jobs = {
        f"j{n:02d}": job(f"j{n:02d}", lane, at=n // 3, locks=locks, immediate=immediate)
        for n, (locks, lane, immediate) in enumerate(arrivals)
    }
    door = Door(*jobs.values(), overtaking=overtaking)
    door.locks.age_every = age_every
    door.aged_before = datetime.fromtimestamp(5, UTC)
    running: list[str] = []
    held: dict[str, list[bool]] = {}
    done = 0
    while done < len(jobs):
        assert running or door.free, "they wait for each other"
        may_claim = sorted(door.free)
        step = data.draw(st.sampled_from(may_claim + [f"end {name}" for name in running]))
        if step.startswith("end "):
            name = step[4:]
            running.remove(name)
            done += 1
            for hold in jobs[name].holds:
                held[hold.name].remove(hold.most == 1)
            door.end(name, *(hold.name for hold in jobs[name].holds))
            continue
        if any(held.get(hold.name) and (hold.most == 1 or any(held[hold.name])) for hold in jobs[step].holds):
            # Two were free to go at once for a lock that only one can have: Postgres refuses the second.
            assert jobs[step].immediate or any(jobs[other].immediate for other in running) or overtaking
            for hold in jobs[step].holds:
                holders = {
                    name: one.most for name in running for one in jobs[name].holds if one.name == hold.name
                }
                door.locks.held(("default", "lock", hold.name), holders)
            assert step not in door.look()
            continue
        for hold in jobs[step].holds:
            held.setdefault(hold.name, []).append(hold.most == 1)
        running.append(step)
        door.claim(step)
        for modes in held.values():
            assert len(modes) <= 1 or not any(modes), "held against the rule"


@settings(deadline=None)
@given(st.lists(LOCKS, min_size=1, max_size=20))
def test_without_overtaking_the_oldest_at_its_locks_is_never_behind_a_younger_one(asked: list[str]) -> None:
    jobs = [job(f"j{n:02d}", at=n, locks=locks) for n, locks in enumerate(asked)]
    door = Door(*jobs)
    order: list[str] = []
    while door.free:
        name = min(door.free)
        order.append(name)
        door.claim(name)
        door.end(name, *(hold.name for hold in jobs[int(name[1:])].holds))
    assert len(order) == len(jobs)
    for first, older in enumerate(jobs):
        for younger in jobs[first + 1 :]:
            both = {h.name: h.most for h in older.holds}
            clash = any(h.name in both and 1 in (h.most, both[h.name]) for h in younger.holds)
            assert not clash or order.index(older.job_id) < order.index(younger.job_id)
