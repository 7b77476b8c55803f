"""The import contracts of `.importlinter`: they hold, and they flag what is planted."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / ".importlinter"

LAYERS = "A lib imports from the layers below its own; a new lib must be given its place here"
LIBS = "Libs never import services"
SERVICES = "A service never imports a service: what two share is a record or a transition"
DECIDE = "Decisions are pure: no drivers, no time, no chance, no system"
CORE = "The core is pure"
TESTING = "Production code never imports what is for tests"

PLANTS: Final = [
    ("libs/penstock/events/planted.py", "import penstock.kafka\n", LAYERS),
    ("libs/penstock/store/planted.py", "def f():\n    from penstock import objects\n", LAYERS),
    ("libs/penstock/definition/planted.py", "import penstock.events\n", LAYERS),
    ("libs/penstock/cli/planted.py", "import penstock.testing\n", LAYERS),
    ("libs/penstock/newcomer/__init__.py", "", LAYERS),
    ("libs/penstock/local/planted.py", "import penstock_services.runner\n", LIBS),
    ("services/penstock_services/intake/planted.py", "from penstock_services import advancer\n", SERVICES),
    ("services/penstock_services/advancer/decide.py", "import time\n", DECIDE),
    ("services/penstock_services/advancer/decide.py", "from psycopg import Connection\n", DECIDE),
    ("services/penstock_services/intake/decide.py", "from random import random\n", DECIDE),
    ("libs/penstock/core/planted.py", "import asyncio\n", CORE),
    ("services/penstock_services/runner/planted.py", "from penstock.testing import clock\n", TESTING),
]


def broken(root: Path) -> set[str]:
    """Names of the contracts that are broken by the code in a tree."""
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()",
         f"--config={CONFIG}", "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "libs"), str(root / "services"))),
             "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = run.stdout + run.stderr
    found = set(re.findall(r"^(.+) BROKEN", said, re.MULTILINE))
    kept = set(re.findall(r"^(.+) KEPT", said, re.MULTILINE))
    assert found | kept == contracts(), said
    assert (run.returncode != 0) == bool(found), said
    return found


def contracts() -> set[str]:
    """Names of all contracts."""
    config = configparser.ConfigParser()
    config.read(CONFIG)
    return {config[name]["name"] for name in config.sections() if ":contract:" in name}


def hollow_copy(root: Path) -> None:
    """The packages of both source roots, with nothing in them."""
    for folder in ("libs/penstock", "services/penstock_services"):
        for package in (ROOT / folder).rglob("__init__.py"):
            file = root / package.relative_to(ROOT)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    (root / "libs/penstock/__main__.py").touch()
    for service in ("advancer", "intake", "reaper"):
        (root / "services/penstock_services" / service / "decide.py").touch()


def test_contracts_hold_here() -> None:
    assert broken(ROOT) == set()


def test_contracts_hold_in_a_hollow_copy(tmp_path: Path) -> None:
    hollow_copy(tmp_path)
    assert broken(tmp_path) == set()


@pytest.mark.parametrize(("path", "text", "contract"), PLANTS)
def test_a_planted_import_is_flagged(tmp_path: Path, path: str, text: str, contract: str) -> None:
    hollow_copy(tmp_path)
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(text)
    assert broken(tmp_path) == {contract}


def test_every_contract_has_a_plant() -> None:
    assert {contract for _, _, contract in PLANTS} == contracts()
