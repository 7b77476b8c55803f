"""Events and logs to their end, across breaks and restarts of the gateway."""

from __future__ import annotations

import threading

import pytest
from tests.unit.client.fake_gateway import PIPELINE, TOKEN, FakeGateway, job_id, lines, status

from penstock.client import Client, Patience, Refused, follow_events, follow_log
from penstock.core.errors import RetryLater
from penstock.testing.clock import ManualClock

RECORDS = [status(1, "PENDING"), status(2, "RUNNING"), status(3, "SUCCESS")]


def patience(told: list[str] | None = None) -> Patience:
    return Patience(60.0, clock=ManualClock(), tell=[].append if told is None else told.append)


def away() -> RetryLater:
    return RetryLater("the gateway does not answer", component="gateway")


def bear_for_ever(bearing: Patience) -> None:
    while True:
        bearing.bear(away())


def test_a_broken_stream_is_taken_up_where_it_ended(gateway: FakeGateway, client: Client) -> None:
    gateway.emit(*RECORDS)
    gateway.cuts.extend((1, 0, 1))
    told: list[str] = []
    found = list(follow_events(client, PIPELINE, patience(told)))
    assert [record["version"] for record in found] == [1, 2, 3]
    assert [cursor for _, _, cursor in gateway.calls] == ["", "1", "1", "2"]
    assert told[1:] == ["the gateway is back"]


def test_lines_come_each_once_across_breaks(gateway: FakeGateway, client: Client) -> None:
    gateway.write(1, *lines(*(str(number) for number in range(50))))
    gateway.cuts.extend((7, 0, 20))
    batches = follow_log(client, job_id(1), 1, patience())
    found = [record for batch in batches for record in batch]
    assert [record["seq"] for record in found if "end" not in record] == list(range(1, 51))
    assert found[-1] == {"end": True, "last_seq": 50}


def test_a_restart_in_between_is_borne(gateway: FakeGateway, client: Client) -> None:
    gateway.emit(*RECORDS[:2])
    stream = follow_events(client, PIPELINE, Patience(30.0))
    assert [next(stream)["version"], next(stream)["version"]] == [1, 2]
    gateway.stop()
    restarted = threading.Thread(target=lambda: (gateway.start(), gateway.emit(RECORDS[2])))
    restarted.start()
    assert next(stream)["version"] == 3
    restarted.join()


def test_a_stream_goes_on_at_another_gateway(gateway: FakeGateway) -> None:
    with FakeGateway() as other:
        for one in (gateway, other):
            one.emit(*RECORDS)
            one.write(1, *lines("a", "b", "c"))
        client = Client(f"{gateway.url},{other.url}", TOKEN)
        gateway.cuts.append(1)
        assert [record["version"] for record in follow_events(client, PIPELINE, patience())] == [1, 2, 3]
        assert other.calls == [("GET", f"/v1/pipelines/{PIPELINE}/events", "1")]
        other.cuts.append(2)
        found = [record for batch in follow_log(client, job_id(1), 1, patience()) for record in batch]
    assert [record.get("seq") for record in found] == [1, 2, 3, None]


def test_what_does_not_exist_is_not_waited_for(gateway: FakeGateway) -> None:
    with pytest.raises(Refused):
        list(follow_events(Client(gateway.url, "bad"), PIPELINE, patience()))


def test_patience_ends() -> None:
    told: list[str] = []
    bearing = patience(told)
    with pytest.raises(RetryLater):
        bear_for_ever(bearing)
    assert told == ["the gateway does not answer; trying again for 60 s"]


def test_one_failed_try_is_not_worth_a_word() -> None:
    told: list[str] = []
    bearing = patience(told)
    bearing.bear(away())
    bearing.answered()
    assert told == []


def test_the_return_is_told_when_the_loss_was() -> None:
    told: list[str] = []
    bearing = patience(told)
    bearing.bear(away())
    bearing.bear(away())
    bearing.answered()
    bearing.answered()
    assert told[1:] == ["the gateway is back"]


def test_a_long_good_connection_however_quiet_begins_anew() -> None:
    clock = ManualClock()
    bearing = Patience(60.0, clock=clock)
    for _ in range(20):
        bearing.bear(away())
        clock.advance(50.0)


def test_a_call_is_repeated_until_it_is_answered() -> None:
    answers = iter((away(), away(), 7))

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, RetryLater):
            raise answer
        return answer

    assert patience().call(call) == 7
