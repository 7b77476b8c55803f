"""The lock file, and what counts as missing or damaged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from penstock.local.jars import Jar, damaged, decode_lock, missing, read_lock


def jar(content: bytes, name: str = "thing") -> Jar:
    return Jar("org.example", name, "1.0", len(content), hashlib.sha256(content).hexdigest())


def test_the_lock_pins_every_jar() -> None:
    lock = read_lock()
    assert len(lock.jars) == 47
    names = {one.artifact: one for one in lock.jars}
    assert names["kafka_2.13"].version == "4.3.1"
    assert names["log4j-slf4j-impl"].version == "2.25.4"
    assert lock.s3proxy[0].filename == "s3proxy-4.1.0-jar-with-dependencies.jar"
    assert all(one.size > 0 and len(one.sha256) == 64 for one in lock.jars)
    assert len({one.filename for one in lock.jars}) == len(lock.jars)


def test_paths_follow_the_repository_layout() -> None:
    one = Jar("org.gaul", "s3proxy", "4.1.0", 1, "", classifier="all")
    assert one.repository_path == "org/gaul/s3proxy/4.1.0/s3proxy-4.1.0-all.jar"


def test_a_lock_of_another_shape_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="kafka"):
        decode_lock(b'{"schema": 1, "s3proxy": []}')


def test_missing_goes_by_size_damaged_by_content(tmp_path: Path) -> None:
    whole, short, wrong, absent = (jar(b"abc", n) for n in ("whole", "short", "wrong", "absent"))
    (tmp_path / whole.filename).write_bytes(b"abc")
    (tmp_path / short.filename).write_bytes(b"ab")
    (tmp_path / wrong.filename).write_bytes(b"xyz")
    jars = (whole, short, wrong, absent)
    assert missing(jars, tmp_path) == [short, absent]
    assert set(damaged(jars, tmp_path)) == {short, absent, wrong}
