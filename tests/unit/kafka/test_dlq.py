from __future__ import annotations

from penstock.events.topics import JOBS_REPORTS, JOBS_STATUS
from penstock.kafka.dlq import dead_letter, has_dlq, origin
from penstock.kafka.records import Outgoing, Record

RECORD = Record(JOBS_REPORTS.name, 3, 42, b"\xff", b"not json", [("ce_id", b"1"), ("empty", None)], 0)


def parked(letter: Outgoing) -> Record:
    assert letter.key is None or isinstance(letter.key, bytes)
    return Record(letter.topic, 0, 7, letter.key, letter.value, [*letter.headers], 0)


def test_key_value_and_headers_stay() -> None:
    letter = dead_letter(RECORD, "no JSON", "DecodeError", 1_700_000_000.0)
    assert letter.topic == "penstock.jobs.reports.dlq"
    assert (letter.key, letter.value) == (RECORD.key, RECORD.value)
    assert letter.headers[:2] == [("ce_id", b"1"), ("empty", b"")]


def test_the_origin_is_read_back() -> None:
    found = origin(parked(dead_letter(RECORD, "no JSON ü", "DecodeError", 1_700_000_000.25)))
    assert found == ("no JSON ü", "DecodeError", JOBS_REPORTS.name, 3, 42, "2023-11-14T22:13:20.250000Z")


def test_a_second_death_replaces_the_first() -> None:
    once = parked(dead_letter(RECORD, "first", "A", 0.0))
    twice = dead_letter(once._replace(topic=JOBS_REPORTS.name), "second", "B", 0.0)
    assert [name for name, _ in twice.headers].count("penstock-dlq-reason") == 1
    assert origin(parked(twice)).reason == "second"


def test_a_long_reason_is_cut() -> None:
    assert len(origin(parked(dead_letter(RECORD, "x" * 5000, "", 0.0))).reason) == 1000


def test_a_stranger_in_the_dead_letter_topic_has_an_unknown_origin() -> None:
    stranger = Record("penstock.jobs.reports.dlq", 0, 0, None, b"", None, 0)
    assert origin(stranger) == ("", "", JOBS_REPORTS.name, -1, -1, "")


def test_only_declared_topics_without_one_have_none() -> None:
    assert has_dlq(JOBS_REPORTS.name)
    assert not has_dlq(JOBS_STATUS.name)
    assert has_dlq("a.topic.of.someone.else")
