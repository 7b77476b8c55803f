"""Sizes that a reader can hold: files, functions, constructors; and names that say what is inside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
CODE: Final = ("libs", "services", "bench")

FILE_LINES: Final = 400
TEST_LINES: Final = 600
USUAL_FILE_LINES: Final = 300
"""Nine of ten files are no longer than this."""
FUNCTION_LINES: Final = 60
USUAL_FUNCTION_LINES: Final = 30
CONSTRUCTOR_PARAMETERS: Final = 7
SAYS_NOTHING: Final = frozenset(("utils", "util", "common", "helpers", "helper", "manager", "misc"))


def long_files(root: Path) -> list[str]:
    """Files over their budget, as `path: N lines`."""
    found: list[str] = []
    for limit, folders in ((FILE_LINES, CODE), (TEST_LINES, ("tests",))):
        for file in _python(root, folders):
            lines = _lines(file)
            if lines > limit:
                found.append(f"{file.relative_to(root)}: {lines} lines, {limit} is the limit")
    return found


def long_functions(root: Path) -> list[str]:
    """Functions over their budget, docstring and all."""
    return [
        f"{file.relative_to(root)}:{function.lineno}: {function.name} has {_length(function)} lines"
        for file in _python(root, CODE)
        for function in _functions(file)
        if _length(function) > FUNCTION_LINES
    ]


def wide_constructors(root: Path) -> list[str]:
    """Constructors with more parameters than anybody passes without a mistake."""
    found: list[str] = []
    for file in _python(root, CODE):
        for function in _functions(file):
            taken = function.args
            count = len(taken.posonlyargs + taken.args + taken.kwonlyargs) - 1
            if function.name == "__init__" and count > CONSTRUCTOR_PARAMETERS:
                found.append(f"{file.relative_to(root)}:{function.lineno}: {count} parameters")
    return found


def names_that_say_nothing(root: Path) -> list[str]:
    """Modules and packages whose names hold anything."""
    return [
        str(file.relative_to(root))
        for file in _python(root, (*CODE, "tests"))
        if SAYS_NOTHING & set(file.relative_to(root).with_suffix("").parts)
    ]


def _python(root: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((root / folder).rglob("*.py"))


def _lines(file: Path) -> int:
    return len(file.read_text("utf-8").splitlines())


def _functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def _ninth_of_ten(sizes: list[int]) -> int:
    return sorted(sizes)[len(sizes) * 9 // 10]


def plant(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    "check", [long_files, long_functions, wide_constructors, names_that_say_nothing], ids=lambda c: c.__name__
)
def test_budgets_hold_here(check: object) -> None:
    assert callable(check)
    assert check(ROOT) == []


def test_most_are_much_smaller() -> None:
    files = list(_python(ROOT, CODE))
    assert _ninth_of_ten([_lines(file) for file in files]) <= USUAL_FILE_LINES
    lengths = [_length(function) for file in files for function in _functions(file)]
    assert _ninth_of_ten(lengths) <= USUAL_FUNCTION_LINES


def test_a_planted_long_file_is_flagged(tmp_path: Path) -> None:
    plant(tmp_path, "libs/penstock/long.py", "x = 1\n" * (FILE_LINES + 1))
    plant(tmp_path, "services/penstock_services/intake/right.py", "x = 1\n" * FILE_LINES)
    plant(tmp_path, "tests/unit/test_long.py", "x = 1\n" * (TEST_LINES + 1))
    plant(tmp_path, "tests/unit/test_right.py", "x = 1\n" * TEST_LINES)
    assert [found.split(":")[0] for found in long_files(tmp_path)] == [
        "libs/penstock/long.py",
        "tests/unit/test_long.py",
    ]


def test_a_planted_long_function_is_flagged(tmp_path: Path) -> None:
    body = "    x = 1\n"
    plant(tmp_path, "libs/penstock/a.py", "async def long():\n" + body * FUNCTION_LINES)
    plant(tmp_path, "libs/penstock/b.py", "def right():\n" + body * (FUNCTION_LINES - 1))
    assert long_functions(tmp_path) == ["libs/penstock/a.py:1: long has 61 lines"]


def test_a_planted_wide_constructor_is_flagged(tmp_path: Path) -> None:
    plant(tmp_path, "libs/penstock/a.py", "class A:\n    def __init__(self, a, b, c, d, *, e, f, g): ...\n")
    plant(
        tmp_path, "libs/penstock/b.py", "class B:\n    def __init__(self, a, b, c, d, *, e, f, g, h): ...\n"
    )
    assert wide_constructors(tmp_path) == ["libs/penstock/b.py:2: 8 parameters"]


def test_a_planted_name_is_flagged(tmp_path: Path) -> None:
    plant(tmp_path, "services/penstock_services/intake/utils.py", "")
    plant(tmp_path, "libs/penstock/common/thing.py", "")
    assert len(names_that_say_nothing(tmp_path)) == 2
