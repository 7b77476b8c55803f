"""Every schedule keeps what the protocol promises; every planted fault is found; a seed stays what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from penstock.testing.servers import Servers
from penstock.testing.simulation.__main__ import main
from penstock.testing.simulation.many import run_many
from penstock.testing.simulation.plants import PLANTS
from penstock.testing.simulation.schedule import run, simulated_database

SCHEDULES: Final = 500
CORPUS: Final = Path(__file__).with_name("corpus.txt")


def corpus() -> list[int]:
    """The seeds that failed once."""
    return [int(line.split()[0]) for line in CORPUS.read_text().splitlines() if line[:1].isdigit()]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_schedules_keep_the_protocol(real_servers: Servers) -> None:
    # The same seeds in every run: a failure is the change's own. `make verify` looks further.
    outcomes = run_many(real_servers.postgres.postgres_dsn, range(SCHEDULES))
    failed = [str(outcome) for outcome in outcomes if outcome.problems]
    assert not failed, "\n\n".join(failed)


def test_seeds_that_failed_once_do_not_fail_again(real_servers: Servers) -> None:
    with simulated_database(real_servers.postgres.postgres_dsn) as db:
        failed = [str(outcome) for outcome in (run(db, seed) for seed in corpus()) if outcome.problems]
    assert not failed, "\n\n".join(failed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_fault_is_found(real_servers: Servers, plant: str) -> None:
    begin = PLANTS[plant].seed
    outcomes = run_many(real_servers.postgres.postgres_dsn, range(begin, SCHEDULES), processes=1, plant=plant)
    assert any(outcome.problems for outcome in outcomes)


def test_a_seed_tells_the_same_story_again(real_servers: Servers) -> None:
    with simulated_database(real_servers.postgres.postgres_dsn) as db:
        first = [run(db, seed).story for seed in (3, 4, 5)]
        again = [run(db, seed).story for seed in (5, 4, 3)]
    assert first == again[::-1]


def test_the_command_replays_a_seed(real_servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["7", "--postgres", real_servers.postgres.postgres_dsn]) == 0
    told = capsys.readouterr().out
    assert "seed 7:" in told
    assert "1 schedules from seed 7 on, 0 failed" in told
