"""How very many schedules are shared among processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from penstock.testing.simulation.many import SHARE, split


@pytest.mark.parametrize("processes", [1, 2, 7])
@pytest.mark.parametrize("count", [1, SHARE, 500, 20_000, 20_001])
def test_every_seed_is_in_one_share(count: int, processes: int) -> None:
    seeds = range(1000, 1000 + count)
    shares = split(seeds, processes)
    assert [seed for share in shares for seed in share] == list(seeds)
    assert all(len(share) >= SHARE for share in shares[:-1])


def test_few_databases_for_many_schedules_and_work_for_everybody() -> None:
    assert len(split(range(500), 2)) == 20
    assert len(split(range(20_000), 2)) == 20
    assert len(split(range(20_000), 8)) == 80


PARENT = """
import multiprocessing, os, time
from penstock.testing.simulation.many import end_with_parent

def work(_):
    print(os.getpid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1, initializer=end_with_parent) as pool:
        pool.map(work, [0])
"""


def test_a_worker_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) != parent.pid
        parent.kill()
        assert parent.stdout.read() == "", "nobody holds the other end any more"
