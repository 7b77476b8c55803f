from __future__ import annotations

import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from penstock.core.errors import StopProcess
from penstock.runtime.log import configure, logger


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("penstock", "penstock_services"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_json_lines_say_who_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info", "intake", "intake-1")
    logger("penstock.x").info("pipeline accepted", pipeline="p1", odd=object)
    (line,) = lines(capsys)
    assert line["event"] == "pipeline accepted"
    assert (line["service"], line["instance"], line["level"]) == ("intake", "intake-1", "info")
    assert (line["logger"], line["pipeline"]) == ("penstock.x", "p1")
    assert str(line["at"]).endswith("Z")


def test_libraries_are_heard_from_warning_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info", "intake", "")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("trouble %d", 7, extra={"broker": "b1"})
    (line,) = lines(capsys)
    assert (line["event"], line["broker"], line["service"]) == ("trouble 7", "b1", "intake")


def test_an_exception_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "info", "intake", "")
    try:
        int("boom")
    except ValueError:
        logger("penstock.x").exception("crashed")
    (line,) = lines(capsys)
    assert "ValueError: invalid literal" in str(line["exception"])


def test_levels_filter(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json", "error", "intake", "")
    logger("penstock.x").warning("not now")
    logging.getLogger("some.library").warning("nor this")
    assert lines(capsys) == []


def test_the_console_form_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console", "info", "intake", "")
    logger("penstock.x").info("ready", port=80)
    text = capsys.readouterr().err
    assert "ready" in text
    assert "port=80" in text


@pytest.mark.parametrize(("form", "level"), [("xml", "info"), ("json", "loud")])
def test_unknown_words_are_refused(form: str, level: str) -> None:
    with pytest.raises(StopProcess, match="PENSTOCK_LOG_"):
        configure(form, level, "intake", "")
