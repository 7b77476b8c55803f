"""The file of `CI_RATE_LIMITS`: what a job wrote there is read with care, and is never a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock_services.runner import rate_limits
from penstock_services.runner.frames import Stream


class Told:
    """An output that keeps what was written."""

    full = False

    def __init__(self) -> None:
        self.text = ""

    async def room(self) -> None:
        pass

    def write(self, _stream: Stream, data: bytes) -> None:
        self.text += data.decode()


def read(path: Path) -> tuple[rate_limits.Limited, str]:
    told = Told()
    return rate_limits.read(path, told), told.text


def test_most_jobs_have_none(tmp_path: Path) -> None:
    assert read(tmp_path / "rate-limits") == ((), "")


def test_a_line_is_a_name_and_seconds(tmp_path: Path) -> None:
    file = tmp_path / "rate-limits"
    file.write_text("registry 30\n\ndocker hub 0.5\nregistry 12\ne\u0301 1\n")
    assert read(file) == ((("registry", 30.0), ("docker hub", 0.5), ("\u00e9", 1.0)), "")


@pytest.mark.parametrize(
    "line",
    ["registry", "30", "registry soon", "registry nan", "registry inf", "registry -1", "registry 86401",
     "n" * 257 + " 3", "a\x00b 3", "a\x9bb 3"],
)  # fmt: skip
def test_a_line_that_is_none_is_told_and_the_others_count(tmp_path: Path, line: str) -> None:
    file = tmp_path / "rate-limits"
    file.write_text(f"first 1\n{line}\nlast 2\n")
    limited, text = read(file)
    assert limited == (("first", 1.0), ("last", 2.0))
    assert text.startswith("penstock: CI_RATE_LIMITS line 2: ")
    assert text.endswith("; write `NAME SECONDS`\n")


def test_bytes_that_are_no_text_are_no_failure(tmp_path: Path) -> None:
    file = tmp_path / "rate-limits"
    file.write_bytes(b"\xff\xfe 3\n")
    assert read(file) == ((("\\xff\\xfe", 3.0),), "")


def test_there_are_so_many_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "rate-limits"
    file.write_text("".join(f"n{n} 1\n" for n in range(100_000)))
    limited, text = read(file)
    assert [name for name, _ in limited] == [f"n{n}" for n in range(64)]
    assert text == "penstock: CI_RATE_LIMITS has more than 64 lines: the first ones count\n"
    file.write_text("bad\n" * 64)
    assert read(file)[1].count("\n") == rate_limits.MAX_TOLD


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "link", "folder"):
        limited, text = read(tmp_path / name)
        assert (limited, text.count("cannot be read")) == ((), 1)
