"""Downloads from a repository on loopback: whole, resumed, wrong, away; and the carried folder."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from penstock.core.errors import RejectInput, RetryLater, StopProcess
from penstock.local.fetch import copy_from, copy_to, fetch
from penstock.local.jars import Jar

CONTENT = bytes(range(256)) * 2000


def jar(name: str, content: bytes = CONTENT) -> Jar:
    return Jar("org.example", name, "1", len(content), hashlib.sha256(content).hexdigest())


class Repository(BaseHTTPRequestHandler):
    """Serves CONTENT for everything; `asked` collects (path, Range)."""

    asked: ClassVar[list[tuple[str, str]]] = []
    status = 200
    ranges = True

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        type(self).asked.append((self.path, wanted))
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if self.ranges else 0
        body = CONTENT[start:]
        self.send_response(self.status if self.status != 200 else 206 if self.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Repository, "asked", [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/maven"
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetches_what_is_missing_and_says_so_beforehand(
    repository: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jars = (jar("a"), jar("b"))
    (tmp_path / jars[0].filename).write_bytes(CONTENT)
    assert fetch(jars, tmp_path, repository) == 1
    assert (tmp_path / jars[1].filename).read_bytes() == CONTENT
    assert [path for path, _ in Repository.asked] == ["/maven/org/example/b/1/b-1.jar"]
    said = capsys.readouterr().err
    assert said.startswith("Fetching 1 jars, 1 MB, once, into ")
    assert fetch(jars, tmp_path, repository) == 0


def test_goes_on_where_it_stopped(repository: str, tmp_path: Path) -> None:
    one = jar("a")
    (tmp_path / f"{one.filename}.part").write_bytes(CONTENT[:1000])
    fetch((one,), tmp_path, repository)
    assert Repository.asked[0][1] == "bytes=1000-"
    assert (tmp_path / one.filename).read_bytes() == CONTENT


def test_begins_anew_where_the_server_knows_no_ranges(
    repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Repository, "ranges", False)
    one = jar("a")
    (tmp_path / f"{one.filename}.part").write_bytes(b"rest of another attempt")
    fetch((one,), tmp_path, repository)
    assert (tmp_path / one.filename).read_bytes() == CONTENT


def test_other_bytes_are_thrown_away(repository: str, tmp_path: Path) -> None:
    one = Jar("org.example", "a", "1", len(CONTENT), "0" * 64)
    with pytest.raises(StopProcess, match="the lock file says 0000"):
        fetch((one,), tmp_path, repository)
    assert not list(tmp_path.glob("a-1*"))


def test_a_repository_that_fails_is_retry_later(
    repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Repository, "status", 503)
    with pytest.raises(RetryLater, match=r"HTTP 503.*fetch --from"):
        fetch((jar("a"),), tmp_path, repository)


def test_carried_in_a_folder(tmp_path: Path) -> None:
    cache, carried, other = tmp_path / "cache", tmp_path / "usb", tmp_path / "other"
    cache.mkdir()
    jars = (jar("a"), jar("b"))
    for one in jars:
        (cache / one.filename).write_bytes(CONTENT)
    assert copy_to(jars, cache, carried) == 2
    assert copy_from(jars, other, carried) == 2
    assert copy_from(jars, other, carried) == 0
    assert (other / "b-1.jar").read_bytes() == CONTENT


def test_a_carried_folder_with_gaps_names_every_file(tmp_path: Path) -> None:
    (tmp_path / "a-1.jar").write_bytes(b"x")
    with pytest.raises(RejectInput) as refused:
        copy_from((jar("a"), jar("b")), tmp_path / "cache", tmp_path)
    assert {Path(problem.path).name for problem in refused.value.problems} == {"a-1.jar", "b-1.jar"}
    assert "fetch --to" in refused.value.problems[0].hint
