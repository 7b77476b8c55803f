"""Bring the locked jars into the cache: in parallel, resumable, each checked by size and SHA-256.

A jar downloads into `NAME.part` and takes its name only once its bytes are the locked ones, so a file with
its full name is always whole. Processes that share a cache take turns by a lock file.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from penstock.core.errors import Problem, RejectInput, RetryLater, StopProcess
from penstock.local.jars import Jar, damaged, missing, sha256_of

PARALLEL: Final = 8
ATTEMPTS: Final = 4
CHUNK: Final = 1 << 17
TIMEOUT: Final = (10.0, 60.0)
"""Seconds to connect, seconds without a byte."""

Advance = Callable[[int], None]


def fetch(jars: tuple[Jar, ...], folder: Path, url: str) -> int:
    """Download what is missing; returns the number of jars fetched.

    Raises:
        RetryLater: the repository cannot be reached; what has arrived is kept and resumed.
        StopProcess: the repository's bytes are not the locked ones, or the folder cannot be written.
    """
    if not missing(jars, folder):
        return 0
    with _turn(folder):
        absent = missing(jars, folder)  # another process may just have fetched them
        if not absent:
            return 0
        url = url.rstrip("/") or _public_repository()
        with _progress(absent, folder) as advance, ThreadPoolExecutor(PARALLEL) as pool:
            # Large ones first: the last thread then does not wait for one big file.
            ordered = sorted(absent, key=lambda jar: -jar.size)
            futures = [pool.submit(_fetch_one, jar, folder, url, advance) for jar in ordered]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return len(absent)


def copy_from(jars: tuple[Jar, ...], folder: Path, source: Path) -> int:
    """Bring the jars into the cache from a folder filled by `fetch --to`; returns the number copied.

    Raises:
        RejectInput: files are absent from the folder or not the locked ones; names each of them.
    """
    if wrong := damaged(jars, source):
        raise RejectInput(
            [
                Problem(
                    "is absent or its bytes are not the locked ones",
                    path=str(source / jar.filename),
                    hint="run `penstock fetch --to FOLDER` of this version on a machine with a network",
                )
                for jar in wrong
            ]
        )
    with _turn(folder):
        return _copy(jars, source, folder)


def copy_to(jars: tuple[Jar, ...], folder: Path, target: Path) -> int:
    """Copy the cached jars into a folder that can be carried elsewhere; returns the number copied."""
    target.mkdir(parents=True, exist_ok=True)
    return _copy(jars, folder, target)


def _copy(jars: tuple[Jar, ...], source: Path, target: Path) -> int:
    wanted = damaged(jars, target)
    for jar in wanted:
        part = target / (jar.filename + ".part")
        shutil.copyfile(source / jar.filename, part)
        _accept(jar, part, target)
    return len(wanted)


def _fetch_one(jar: Jar, folder: Path, url: str, advance: Advance) -> None:
    part = folder / (jar.filename + ".part")
    failure: OSError | None = None
    for _ in range(ATTEMPTS):
        try:
            _download(jar, part, url, advance)
        except OSError as error:  # requests' errors are OSErrors too; the part file stays for the next try
            failure = error
            continue
        _accept(jar, part, folder)
        return
    raise RetryLater(
        f"{jar.filename}: {url} does not give it ({_short(failure)}). What has arrived is kept: try again, "
        "set PENSTOCK_MAVEN_URL to a mirror, or bring the jars with `penstock fetch --from FOLDER`",
        component="maven",
    )


def _download(jar: Jar, part: Path, url: str, advance: Advance) -> None:
    from jgo.util import http

    have = part.stat().st_size if part.exists() else 0
    if have > jar.size:
        part.unlink()
        have = 0
    if have == jar.size:
        return
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with http.get(f"{url}/{jar.repository_path}", stream=True, timeout=TIMEOUT, headers=headers) as response:
        if response.status_code not in (200, 206):
            raise OSError(f"HTTP {response.status_code} for {jar.repository_path}")
        resumed = response.status_code == 206
        if have and not resumed:
            advance(-have)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                advance(len(chunk))
    if part.stat().st_size < jar.size:
        raise OSError("the connection ended early")


def _accept(jar: Jar, part: Path, folder: Path) -> None:
    found = sha256_of(part)
    if part.stat().st_size != jar.size or found != jar.sha256:
        part.unlink()
        raise StopProcess(
            f"{jar.filename}: its SHA-256 is {found}, the lock file says {jar.sha256}. It was thrown away: "
            "check PENSTOCK_MAVEN_URL and whatever stands between this machine and the repository"
        )
    part.replace(folder / jar.filename)


def _short(failure: OSError | None) -> str:
    # The HTTP library's sentences nest three deep and repeat the URL; its class names say as much.
    foreign = type(failure).__module__.startswith("requests")
    return type(failure).__name__ if foreign else str(failure)


def _public_repository() -> str:
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold the cache's lock file; wait for another process that holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise StopProcess(f"{folder}: {error.strerror}; set XDG_CACHE_HOME to your own folder") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(jars: list[Jar], folder: Path) -> Iterator[Advance]:
    """One bar for all jars on a terminal, two plain lines elsewhere; yields how to advance it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    parts = [folder / (jar.filename + ".part") for jar in jars]
    have = sum(part.stat().st_size for part in parts if part.exists())
    size = sum(jar.size for jar in jars)
    resumed = f", {have / 1e6:.0f} MB of them are here" if have else ""
    sys.stderr.write(f"Fetching {len(jars)} jars, {size / 1e6:.0f} MB{resumed}, once, into {folder}\n")
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("jars", total=size, completed=have)
        yield lambda count: bar.advance(task, count)
    sys.stderr.write(f"Fetched {len(jars)} jars\n")
