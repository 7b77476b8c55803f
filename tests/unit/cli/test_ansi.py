"""Control sequences of strangers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.ansi import last_line, printable, without_colours

SGR = re.compile(r"\x1b\[[0-9;:]*m")
PIECES = st.sampled_from(
    [*"\x1b[]0;1mK\x07\x9b\x90x ", "\x1b[", "\x1b]", "\x1b[31m", "\x1b\\"],
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[38;5;12mblue", "\x1b[38;5;12mblue\x1b[0m"),
        ("\x1b[2J\x1b[Hcleared", "cleared"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq…sixel…\x1b\\after", "after"),
        ("\x1b[?1049hscreen", "screen"),
        ("\x1bcreset", "reset"),
        ("\x9b2Jeight bits", "eight bits"),
        ("bell\x07 back\x08 nul\x00", "bell back nul"),
        ("tab\tstays", "tab\tstays"),
        ("10%\r50%\r100%\r", "10%\n50%\n100%"),
        ("half a sequence \x1b[3", "half a sequence "),
        ("wörter ✓ 日本", "wörter ✓ 日本"),
    ],
)
def test_only_colours_pass(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_nothing_is_left_that_a_terminal_would_obey(text: str) -> None:
    shown = printable(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", SGR.sub("", shown))


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_without_controls_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.lists(PIECES).map("".join))
def test_to_clean_twice_is_to_clean_once(text: str) -> None:
    assert printable(printable(text)) == printable(text)


def test_the_last_line_is_what_a_progress_bar_shows() -> None:
    assert last_line("10%\r100%\r") == "100%"


def test_colours_can_be_left_out() -> None:
    assert without_colours("\x1b[31mred\x1b[0m") == "red"
