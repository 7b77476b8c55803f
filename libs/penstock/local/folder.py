"""`.penstock/`: its paths, files that only their owner reads, and the lock of the stack that runs in it."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from penstock.core.errors import StopProcess

NAME = ".penstock"


@dataclasses.dataclass(frozen=True)
class StackFolder:
    """The paths below one `.penstock/`."""

    path: Path

    @property
    def data(self) -> Path:
        """Data of the servers, one folder each."""
        return self.path / "data"

    @property
    def config(self) -> Path:
        """Configuration written anew at each start; holds credentials."""
        return self.path / "config"

    @property
    def logs(self) -> Path:
        """What each process wrote on stdout and stderr."""
        return self.path / "logs"

    @property
    def stack(self) -> Path:
        """Description of the running stack for programs (interface: `penstock.local.stack`)."""
        return self.path / "stack.json"

    @property
    def processes(self) -> Path:
        """Every child process that was started and not yet seen to end."""
        return self.path / "processes.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.path / "lock"

    def create(self) -> None:
        """Make the folders. Raises `StopProcess` when they cannot be made."""
        try:
            # Others may pass through (Postgres under another uid does) but not look around.
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711)
            self.data.mkdir(exist_ok=True)
            self.data.chmod(0o711)
            for private in (self.config, self.logs):
                private.mkdir(exist_ok=True)
                private.chmod(0o700)
            ignore = self.path / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            raise StopProcess(
                f"{self.path}: {error.strerror}; start the stack in a folder that you may write"
            ) from None


class Credentials(msgspec.Struct, frozen=True):
    """Secrets of one stack, made at random with its data and kept beside it."""

    postgres_password: str
    s3_access_key: str
    s3_secret_key: str
    token: str


def find(start: Path) -> StackFolder | None:
    """The nearest `.penstock/` that holds a stack, in `start` or above it."""
    for parent in (start, *start.parents):
        folder = StackFolder(parent / NAME)
        if folder.lock.exists():
            return folder
    return None


def write_private(path: Path, content: bytes) -> None:
    """Replace a file as a whole; only its owner may read it, from its first byte on."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def credentials(folder: StackFolder) -> Credentials:
    """Those of the folder's data, made now when there are none."""
    path = folder.path / "credentials.json"
    if path.exists():
        try:
            return msgspec.json.decode(path.read_bytes(), type=Credentials)
        except msgspec.DecodeError as error:
            raise StopProcess(
                f"{path}: {error}; without it the data below {folder.data} cannot be opened. Restore it, or "
                f"remove {folder.path} to begin anew"
            ) from None
    made = Credentials(
        postgres_password=secrets.token_urlsafe(24),
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_urlsafe(30),
        token=secrets.token_urlsafe(32),
    )
    write_private(path, msgspec.json.encode(made))
    return made


class AlreadyRunningError(StopProcess):
    """Another supervisor holds the folder."""

    exit_code = 5


@contextlib.contextmanager
def held(folder: StackFolder) -> Iterator[None]:
    """Hold the folder's lock. Raises `AlreadyRunningError` when a supervisor holds it."""
    try:
        file = folder.lock.open("a")
    except PermissionError:
        raise StopProcess(f"{folder.path} belongs to another user: act as that one, or elsewhere") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunningError(f"a stack runs in {folder.path}") from None
        yield


def is_held(folder: StackFolder) -> bool:
    """Whether a supervisor holds the folder."""
    if not folder.lock.exists():
        return False
    try:
        with held(folder):
            return False
    except AlreadyRunningError:
        return True
