"""Server-sent events out of lines."""

from __future__ import annotations

from penstock.client.streams import ServerSentEvent, server_sent_events


def events(text: bytes) -> list[ServerSentEvent]:
    return list(server_sent_events(text.split(b"\n")[:-1]))


def test_an_event_has_kind_cursor_and_data() -> None:
    assert events(b"event: job\nid: 7\ndata: {}\n\n") == [ServerSentEvent("job", "7", "{}")]


def test_comments_and_unknown_fields_are_no_events() -> None:
    assert events(b": still here\n\nretry: 2000\n\n") == []


def test_the_cursor_stays_and_the_kind_does_not() -> None:
    found = events(b"event: job\nid: 7\ndata: a\n\ndata: b\n\n")
    assert found == [ServerSentEvent("job", "7", "a"), ServerSentEvent("message", "7", "b")]


def test_lines_of_data_are_joined() -> None:
    assert events(b"data: a\ndata:b\n\n") == [ServerSentEvent("message", "", "a\nb")]


def test_an_event_that_was_cut_short_is_left_out() -> None:
    assert events(b"data: a\n") == []


def test_line_ends_may_be_those_of_the_internet() -> None:
    assert events(b"event: job\r\ndata: a\r\n\r\n") == [ServerSentEvent("job", "", "a")]
