"""The jars of the local servers, pinned by coordinates, size and SHA-256 in `jars.lock.json`."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

LOCK_NAME: Final = "jars.lock.json"


class Jar(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of the repository; `size` in bytes, `sha256` in lower-case hex."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str
    classifier: str = ""

    @property
    def filename(self) -> str:
        """Its name in the repository and in the cache."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.jar"

    @property
    def repository_path(self) -> str:
        """Its place below the repository's URL."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.filename}"


class JarLock(msgspec.Struct, frozen=True):
    """All jars by the server they belong to."""

    schema: int
    kafka: tuple[Jar, ...]
    s3proxy: tuple[Jar, ...]

    @property
    def jars(self) -> tuple[Jar, ...]:
        """Every jar, each once."""
        return self.kafka + self.s3proxy


def decode_lock(text: bytes) -> JarLock:
    """Read a lock file. Raises `msgspec.ValidationError` when it has another shape."""
    return msgspec.json.decode(text, type=JarLock)


def read_lock() -> JarLock:
    """The lock file this version of Penstock was built with."""
    return decode_lock(resources.files("penstock.local").joinpath(LOCK_NAME).read_bytes())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def missing(jars: tuple[Jar, ...], folder: Path) -> list[Jar]:
    """Jars that are not in the folder with their full size. Contents are checked when they arrive."""
    return [jar for jar in jars if _size(folder / jar.filename) != jar.size]


def damaged(jars: tuple[Jar, ...], folder: Path) -> list[Jar]:
    """Jars in the folder whose bytes are not the locked ones (absent ones included)."""
    absent = missing(jars, folder)
    return absent + [
        jar for jar in jars if jar not in absent and sha256_of(folder / jar.filename) != jar.sha256
    ]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
