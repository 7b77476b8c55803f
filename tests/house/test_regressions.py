"""Every defect of docs/regressions.md has a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
ROWS: Final = re.findall(
    r"^\| ([DW]\d+) \|.*\| ([^|]+) \|$", (ROOT / "docs/regressions.md").read_text("utf-8"), re.MULTILINE
)
DEFECTS: Final = [f"D{number}" for number in range(1, 14)]
OF_THE_PROTOCOL: Final = [f"W{number}" for number in (3, 5, 6, 7, 8, 9, 16, 17, 20, 21, 25, 26, 27)]


def names_in(file: Path) -> set[str]:
    """Names of the test functions of a module."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, functions)}


def test_no_defect_is_forgotten() -> None:
    assert [name for name, _ in ROWS] == DEFECTS + OF_THE_PROTOCOL


@pytest.mark.parametrize(("name", "tests"), ROWS)
def test_each_has_tests_that_exist(name: str, tests: str) -> None:
    named = re.findall(r"`([^`:]+)::(test_\w+)`", tests)
    assert named, name
    assert [f"{file}::{test}" for file, test in named if test not in names_in(ROOT / file)] == []


def test_nobody_hands_out_a_signed_url() -> None:
    """It would let whoever has it write what nobody has checked."""
    code = [file for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py")]
    assert [file for file in code if "presign" in file.read_text("utf-8").lower()] == []
