"""S3Proxy over a folder: configuration and command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.core.errors import StopProcess
from penstock.local.folder import write_private
from penstock.local.jars import Jar
from penstock.local.java import OPTIONS, StartupCache, java, java_environment
from penstock.local.ports import HOST
from penstock.local.process import Command

BUCKET: Final = "penstock"
HEAP: Final = ("-Xms32m", "-Xmx192m")


def properties(port: int, access_key: str, secret_key: str, data: Path) -> str:
    """Its configuration. The folder must be absolute: listings are empty below a relative one."""
    settings = {
        "s3proxy.endpoint": f"http://{HOST}:{port}",
        "s3proxy.authorization": "aws-v4",
        "s3proxy.identity": access_key,
        "s3proxy.credential": secret_key,
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": escaped(str(data.absolute())),
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def escaped(value: str) -> str:
    """A value as a Java properties file, read as Latin-1, must spell it."""
    units = value.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    return "".join(chr(code) if 32 < code < 127 and code != 92 else f"\\u{code:04x}" for code in codes)


def check_attributes(folder: Path) -> None:
    """Raise `StopProcess` when the folder's file system cannot keep user attributes, which S3Proxy needs."""
    if not hasattr(os, "setxattr"):
        return  # macOS: its file systems all can
    probe = folder / ".xattr"
    try:
        probe.touch()
        os.setxattr(probe, "user.penstock", b"1")
    except OSError as error:
        raise StopProcess(
            f"{folder}: its file system keeps no extended attributes ({error.strerror}), which the S3 server "
            "needs; start the stack in a folder on ext4, xfs, btrfs or a tmpfs of a recent kernel"
        ) from None
    finally:
        probe.unlink(missing_ok=True)


class ObjectServer:
    """The S3 server below `data`; its jar is in `cache`."""

    def __init__(self, data: Path, config: Path, cache: Path, jars: tuple[Jar, ...], *, port: int) -> None:
        self.data = data
        self.port = port
        self._properties = config / "s3proxy.properties"
        (self._jar,) = (cache / jar.filename for jar in jars)
        self.startup = StartupCache(cache, "s3", [self._jar])

    def prepare(self, access_key: str, secret_key: str) -> None:
        """Make its folder and write its configuration. Raises `StopProcess`."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_attributes(self.data)
        write_private(self._properties, properties(self.port, access_key, secret_key, self.data).encode())

    def command(self, environ: Mapping[str, str]) -> Command:
        """How to start it."""
        options = (*OPTIONS, *HEAP, *self.startup.record())
        return Command(
            arguments=(str(java()), *options, "-jar", str(self._jar), "--properties", str(self._properties)),
            environment=java_environment(environ),
            directory=self.data,
        )
