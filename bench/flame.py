"""Flame pictures: py-spy looks at each service process while a workload runs."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.stack import SERVERS, UnderTest
from penstock.core.errors import StopProcess

RATE = 200
"""Samples a second; 100 would beat with timers of 10 ms."""
WRITE_SECONDS = 30.0


def sampler() -> str:
    """Where py-spy is.

    Raises:
        StopProcess: it is not installed.
    """
    # Beside the interpreter first: an environment that is not activated is not on the path.
    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise StopProcess(
            "--flame needs py-spy, which is not installed: `pip install py-spy`, or drop --flame"
        )
    return found


@contextlib.contextmanager
def flames(subject: UnderTest, folder: Path | None, workload: str) -> Iterator[None]:
    """Writes FOLDER/WORKLOAD-SERVICE-REPLICA.svg of each service at the end; without a folder does nothing.

    The services are those that run when it begins; of one that is killed the picture ends there.

    Raises:
        StopProcess: py-spy is not installed, or may not look at these processes.
    """
    if folder is None:
        yield
        return
    program = sampler()
    folder.mkdir(parents=True, exist_ok=True)
    watching: list[tuple[Path, subprocess.Popen[bytes]]] = []
    try:
        for one in subject.stack.components:
            if one.name not in SERVERS:
                picture = folder / f"{workload}-{one.name}-{one.replica}.svg"
                watching.append((picture, _watch(program, one.pid, picture)))
        yield
    finally:
        # Told all at once: each takes a second to write its picture.
        for _, process in watching:
            process.send_signal(signal.SIGINT)
        failed = [
            f"{picture.name}: {trouble}" for picture, one in watching if (trouble := _end(one, picture))
        ]
    if failed:
        raise StopProcess(f"py-spy: no flame picture: {'; '.join(failed)}")


def _watch(program: str, pid: int, picture: Path) -> subprocess.Popen[bytes]:
    command = [program, "record", "--nonblocking", "--rate", str(RATE), "--duration", "unlimited"]
    return subprocess.Popen(
        [*command, "--pid", str(pid), "--output", str(picture)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _end(process: subprocess.Popen[bytes], picture: Path) -> str:
    """Wait until its picture is written; why there is none."""
    try:
        _, said = process.communicate(timeout=WRITE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"not written within {WRITE_SECONDS:.0f} s"
    if picture.exists():
        return ""
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {process.returncode}"
