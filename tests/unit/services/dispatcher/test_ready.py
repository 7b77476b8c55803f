"""The queue in memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.services.dispatcher.field import Field, job

from penstock.core.lanes import LANES
from penstock.events.jobs import ReadyJob
from penstock_services.dispatcher.line import Line, age_of
from penstock_services.dispatcher.ready import Ready, shape_of


def test_one_that_came_back_while_it_was_looked_for_is_not_forgotten() -> None:
    ready = Ready()
    ready.add([job("a"), job("b")])
    known = ready.jobs()
    ready.remove(["a"])
    ready.add([job("a")])
    ready.forget(known)
    assert ids(ready) == ["a"]


def lines(ready: Ready, level: str, pool: str = "default", tenant: str = "default") -> list[Line]:
    return [of[tenant] for of in ready.level(pool, level).values() if tenant in of]


def ids(ready: Ready, level: str = "normal", pool: str = "default", tenant: str = "default") -> list[str]:
    return [one.job_id for line in lines(ready, level, pool, tenant) for one in line]


def test_repeats_are_ignored_and_what_is_gone_is_forgotten() -> None:
    ready = Ready()
    ready.add([job("a"), job("a"), job("b")])
    assert len(ready) == 2
    ready.forget([one for one in ready.jobs() if one.job_id != "b"])
    assert ids(ready) == ["b"]
    ready.remove(["b", "never there"])
    assert ready.pools() == []


def test_hints_that_overtook_each_other_are_put_in_order() -> None:
    ready = Ready()
    ready.add([job("c", at=3), job("a", at=1), job("b", at=2)])
    assert ids(ready) == ["a", "b", "c"]


def test_a_job_in_a_higher_lane_is_moved_and_a_stale_hint_does_not_bring_it_back() -> None:
    ready = Ready()
    ready.add([job("a"), job("a", "high"), job("a")])
    assert ids(ready, "high") == ["a"]
    assert ids(ready) == []
    ready.add([job("l", locks="A"), job("l", "critical", locks="A")])
    assert ready.holding("default") == [("default", "default", shape_of(job("l", locks="A")))]


def test_one_that_comes_back_is_there_once() -> None:
    ready = Ready()
    ready.add([job("a", at=1), job("b", at=2)])
    ready.remove(["a"])
    ready.add([job("a", at=1)])
    assert ids(ready) == ["a", "b"]
    ready.remove(["a"])
    ready.add([job("a", at=9)])
    assert ids(ready) == ["b", "a"]


def test_a_job_with_locks_is_there_only_while_it_is_its_turn() -> None:
    field = Field()
    field.runner(slots=9)
    field.ready.add([job("a", at=1, locks="X"), job("b", at=2, locks="X")])
    assert ids(field.scene().ready) == ["a"]
    assert field.ready.free_since("a") == 0.0
    assert field.ready.free_since("b") is None
    field.ready.add([job("now", "critical", at=3, locks="X")])
    ready = field.scene(now=5.0).ready
    assert (ids(ready), ids(ready, "critical")) == ([], ["now"])
    field.ready.remove(["now"])
    assert ids(field.scene(now=6.0).ready) == ["a"]
    assert field.ready.free_since("a") == 6.0


def test_one_that_is_held_back_and_freed_again_is_there_once() -> None:
    field = Field()
    field.runner(slots=8)
    field.ready.add([job("a", at=1, locks="A"), job("b", at=2, locks="B"), job("c", at=3, locks="C")])
    field.scene()
    field.ready.add([job("now", "critical", at=4, locks="B")])
    assert ids(field.scene().ready) == ["a", "c"]
    field.ready.remove(["now"], claimed=True)
    field.scene()
    field.ready.locks.free(("default", "lock", "b"), "now")
    assert ids(field.scene().ready) == ["a", "b", "c"]


def test_shapes_that_no_job_has_are_forgotten() -> None:
    ready = Ready()
    for n in range(3000):
        ready.add([job(f"j{n}", labels=(f"l{n}",), locks="A")])
        ready.remove([f"j{n}"])
    ready.forget(ready.jobs())
    assert not ready._shapes
    assert not ready.new_holding()
    assert not ready.holding_pools()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("+-"),
            st.integers(0, 9),
            st.sampled_from(LANES),
            st.sampled_from(["", *"AbBC"]),
        ),
        max_size=80,
    )
)
def test_whatever_comes_and_goes_lines_hold_the_free_jobs_in_order(
    steps: list[tuple[str, int, str, str]],
) -> None:
    field = Field()
    field.runner(slots=9)
    there: dict[str, ReadyJob] = {}
    for n, (step, number, lane, locks) in enumerate(steps):
        name = f"j{number}"
        if step == "+" and name not in there:
            there[name] = job(name, lane, at=n % 7, locks=locks)  # type: ignore[arg-type]
            field.ready.add([there[name]])
        elif step == "-":
            there.pop(name, None)
            field.ready.remove([name])
        ready = field.scene().ready
        assert len(ready) == len(there)
        for level in LANES:
            found = lines(ready, level)
            assert all((line.size, line.oldest) == (len(list(line)), next(iter(line))) for line in found)
            seen = [[age_of(one) for one in line] for line in found]
            assert all(line and line == sorted(set(line)) for line in seen)
            plain = {name for name, one in there.items() if one.lane == level and not one.holds}
            free = {name for line in seen for _, name in line}
            assert plain <= free <= {name for name, one in there.items() if one.lane == level}


def test_a_line_forgets_what_left_it() -> None:
    present: dict[str, ReadyJob] = {}
    line = Line(present)
    for n in range(10_000):
        present[str(n)] = one = job(str(n), at=n)
        line.add(one)
        if n >= 10:
            del present[str(n - 10)]
            line.discard()
    assert [one.job_id for one in line] == [str(n) for n in range(9990, 10_000)]
    assert len(line._jobs) < 200
