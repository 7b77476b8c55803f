"""Without a network: the jars were brought in a folder, and the demo runs where there is no route at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOOPBACK_UP = """
import fcntl, os, socket, struct, sys
with socket.socket() as probe:
    # SIOCSIFFLAGS: IFF_UP, IFF_LOOPBACK, IFF_RUNNING
    fcntl.ioctl(probe, 0x8914, struct.pack('16sh', b'lo', 0x49))
try:
    socket.create_connection(('192.0.2.1', 80), 1)
except OSError as error:
    assert error.errno in (101, 113), error  # no route: there is no network
else:
    raise SystemExit('there is a network')
os.execv(sys.executable, [sys.executable, '-m', 'penstock', *sys.argv[1:]])
"""
UNSHARE = (
    ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-current-user", "--keep-caps", "--net"]
)


def penstock(
    folder: Path, cache: Path, *words: str, isolated: bool = False
) -> subprocess.CompletedProcess[str]:
    prefix = [*UNSHARE, sys.executable, "-c", LOOPBACK_UP] if isolated else [sys.executable, "-m", "penstock"]
    return subprocess.run(
        [*prefix, *words],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.timeout(900)
@pytest.mark.skipif(
    subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode != 0,
    reason="this kernel lets nobody make a network namespace",
)
def test_the_demo_runs_without_a_route(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    carried, cache, place = tmp_path / "carried", tmp_path / "cache", tmp_path / "place"
    for folder in (cache, place):
        folder.mkdir()
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    brought = penstock(place, cached, "fetch", "--to", str(carried))
    assert brought.returncode == 0, brought.stderr
    taken = penstock(place, cache, "fetch", "--from", str(carried), isolated=True)
    assert taken.returncode == 0, taken.stderr
    demo = penstock(place, cache, "up", "--demo", isolated=True)
    assert demo.returncode == 0, demo.stdout[-4000:] + demo.stderr[-2000:]
