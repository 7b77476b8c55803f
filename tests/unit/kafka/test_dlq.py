from __future__ import annotations

import pytest

from penstock.core.errors import RejectInput
from penstock.events.topics import JOBS_REPORTS, JOBS_STATUS
from penstock.kafka.dlq import dead_letter, has_dlq, origin, replayed
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
    assert found == ("no JSON ü", "DecodeError", JOBS_REPORTS.name, 3, 42, "2023-11-14T22:13:20.250000Z", 0)


def test_a_second_death_replaces_the_first() -> None:
    once = parked(dead_letter(RECORD, "first", "A", 0.0))
    twice = dead_letter(once._replace(topic=JOBS_REPORTS.name), "second", "B", 0.0)
    assert [name for name, _ in twice.headers].count("penstock-dlq-reason") == 1
    assert origin(parked(twice)).reason == "second"


def test_a_long_reason_is_cut() -> None:
    assert len(origin(parked(dead_letter(RECORD, "x" * 5000, "", 0.0))).reason) == 1000


def test_a_stranger_in_the_dead_letter_topic_has_an_unknown_origin() -> None:
    stranger = Record("penstock.jobs.reports.dlq", 0, 0, None, b"", None, 0)
    assert origin(stranger) == ("", "", JOBS_REPORTS.name, -1, -1, "", 0)


def test_a_replay_is_the_original_record_and_says_so() -> None:
    again = replayed(parked(dead_letter(RECORD, "no JSON", "DecodeError", 0.0)))
    assert again[:3] == (JOBS_REPORTS.name, RECORD.key, RECORD.value)
    assert again.headers == [("ce_id", b"1"), ("empty", b""), ("penstock-dlq-replays", b"1")]


def test_what_fails_again_comes_back_with_a_raised_count() -> None:
    letter = parked(dead_letter(RECORD, "once", "", 0.0))
    for count in (1, 2):
        again = replayed(letter)
        letter = parked(dead_letter(RECORD._replace(headers=[*again.headers]), "again", "", 0.0))
        assert origin(letter).replays == count
    assert [name for name, _ in letter.headers].count("penstock-dlq-replays") == 1


def test_a_letter_of_another_topic_is_not_replayed() -> None:
    letter = parked(dead_letter(RECORD, "why", "", 0.0))._replace(topic="penstock.cancel.requested.dlq")
    with pytest.raises(RejectInput, match="not here"):
        replayed(letter)


def test_only_declared_topics_without_one_have_none() -> None:
    assert has_dlq(JOBS_REPORTS.name)
    assert not has_dlq(JOBS_STATUS.name)
    assert has_dlq("a.topic.of.someone.else")
