"""One home for each thing that must not be everywhere: SQL, drivers, environment, clock, last resorts."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final = "services/penstock_services"

DRIVERS: Final = {
    "confluent_kafka": ("libs/penstock/kafka",),
    "psycopg": ("libs/penstock/store",),
    "boto3": ("libs/penstock/objects",),
    "botocore": ("libs/penstock/objects",),
    "aiohttp.web": (f"{SERVICES}/gateway", f"{SERVICES}/logs"),
    "faust": (f"{SERVICES}/scaler",),
}
SQL: Final = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s|DELETE\s+FROM\s|CREATE\s|ALTER\s|DROP\s|WITH\s.+\sAS\s*\()",
    re.DOTALL,
)
CLOCK: Final = {
    "time": {
        "time",
        "time_ns",
        "monotonic",
        "monotonic_ns",
        "perf_counter",
        "perf_counter_ns",
        "sleep",
        "clock_gettime",
        "clock_gettime_ns",
    },
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
CLOCK_HOMES: Final = {
    "libs/penstock/runtime/clock.py": "the home",
    f"{SERVICES}/runner/guard.py": "a program run by path, with nothing but the standard library",
}
LAST_RESORTS: Final = frozenset(
    ("libs/penstock/runtime/run.py", "libs/penstock/kafka/loop.py", "libs/penstock/kafka/feeds.py")
)


class Module(NamedTuple):
    """One module of ours: its path below the root, its lines, its syntax tree."""

    path: str
    lines: list[str]
    tree: ast.Module

    def at(self, node: ast.AST, what: str) -> str:
        """How a finding is told."""
        return f"{self.path}:{getattr(node, 'lineno', 0)}: {what}"

    def explained(self, line: int) -> bool:
        """Whether a comment on this line says more than which rule it silences."""
        _, _, comment = self.lines[line - 1].partition("#")
        return len(re.sub(r"noqa:?\s*[A-Z0-9, ]*|[^\w\s]", " ", comment).split()) > 1


def modules(root: Path) -> Iterator[Module]:
    """Everything in both source roots."""
    for folder in ("libs", "services"):
        for file in sorted((root / folder).rglob("*.py")):
            text = file.read_text("utf-8")
            yield Module(file.relative_to(root).as_posix(), text.splitlines(), ast.parse(text))


def sql_outside_the_store(root: Path) -> list[str]:
    """Texts that begin as a statement does."""
    return [
        module.at(node, f"SQL: {node.value.strip()[:40]!r}")
        for module in modules(root)
        if not module.path.startswith("libs/penstock/store/")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
    ]


def drivers_outside_their_home(root: Path) -> list[str]:
    """Imports of a driver anywhere but in the one package that knows it."""
    found: list[str] = []
    for module in modules(root):
        for node, name in _imports(module.tree):
            for driver, homes in DRIVERS.items():
                inside = any(module.path.startswith(f"{home}/") for home in homes)
                if f"{name}.".startswith(f"{driver}.") and not inside:
                    found.append(module.at(node, f"imports {driver}; its home is {' or '.join(homes)}"))
    return found


def environment_outside_settings(root: Path) -> list[str]:
    """`os.environ` and its like anywhere but in `runtime.settings`."""
    names = ("environ", "environb", "getenv", "putenv")
    found: list[str] = []
    for module in modules(root):
        if module.path == "libs/penstock/runtime/settings.py":
            continue
        read = [node for node in ast.walk(module.tree) if _attribute(node)[0] == "os"]
        found += [module.at(node, "environment") for node in read if _attribute(node)[1] in names]
        named = [node for node, name in _imports(module.tree) if name in {f"os.{one}" for one in names}]
        found += [module.at(node, "environment") for node in named]
    return found


def clock_outside_the_clock(root: Path) -> list[str]:
    """Whoever asks for the time, or sleeps, without being given a clock."""
    found: list[str] = []
    for module in modules(root):
        if module.path in CLOCK_HOMES:
            continue
        for node in ast.walk(module.tree):
            of, name = _attribute(node)
            if name in CLOCK.get(of, ()):
                found.append(module.at(node, f"{of}.{name}"))
        for node, imported in _imports(module.tree):
            of, _, name = imported.partition(".")
            if of == "time" and name in CLOCK["time"]:
                found.append(module.at(node, imported))
    return found


def unexplained_last_resorts(root: Path) -> list[str]:
    """`except Exception` and wider without a word of why, but in the loops that must survive anything.

    One that raises the same error again only cleans up.
    """
    return [
        module.at(node, "catches everything and does not say why on its line")
        for module in modules(root)
        if module.path not in LAST_RESORTS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _is_wide(node.type)
        if not _raises_again(node) and not module.explained(node.lineno)
    ]


def prints_outside_the_cli(root: Path) -> list[str]:
    """`print` where nobody reads it."""
    return [
        module.at(node, "prints")
        for module in modules(root)
        if not module.path.startswith("libs/penstock/cli/")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if not module.explained(node.lineno)
    ]


def _imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every absolute import as the dotted name of what it may load."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node, f"{node.module}.{alias.name}"


def _attribute(node: ast.AST) -> tuple[str, str]:
    """(owner, name) of `owner.name` and of `….owner.name`; empty for anything else."""
    if not isinstance(node, ast.Attribute):
        return "", ""
    owner = node.value
    of = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return of, node.attr


def _is_wide(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_is_wide(one) for one in kind.elts)
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


CHECKS: Final[tuple[Callable[[Path], list[str]], ...]] = (
    sql_outside_the_store,
    drivers_outside_their_home,
    environment_outside_settings,
    clock_outside_the_clock,
    unexplained_last_resorts,
    prints_outside_the_cli,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_everything_is_at_home(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (sql_outside_the_store, 'rows("SELECT 1 FROM jobs")\n'),
        (sql_outside_the_store, 'rows(f"UPDATE {table} SET x = 1")\n'),
        (sql_outside_the_store, 'rows("""\n    WITH a AS (SELECT 1) SELECT * FROM a""")\n'),
        (drivers_outside_their_home, "import psycopg\n"),
        (drivers_outside_their_home, "from confluent_kafka import Producer\n"),
        (drivers_outside_their_home, "def f():\n    import boto3.session\n"),
        (drivers_outside_their_home, "from aiohttp import web\n"),
        (environment_outside_settings, "import os\nx = os.environ['A']\n"),
        (environment_outside_settings, "from os import getenv\n"),
        (clock_outside_the_clock, "import time\nx = time.time()\n"),
        (clock_outside_the_clock, "from time import sleep\n"),
        (clock_outside_the_clock, "import datetime\nx = datetime.datetime.now()\n"),
        (unexplained_last_resorts, "try:\n    f()\nexcept Exception:\n    pass\n"),
        (unexplained_last_resorts, "try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass\n"),
        (unexplained_last_resorts, "try:\n    f()\nexcept:\n    pass\n"),
        (unexplained_last_resorts, "try:\n    f()\nexcept (OSError, BaseException):\n    pass\n"),
        (prints_outside_the_cli, "print('here')\n"),
    ],
)
def test_a_plant_is_flagged(tmp_path: Path, check: Callable[[Path], list[str]], text: str) -> None:
    file = tmp_path / SERVICES / "intake" / "planted.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert len(check(tmp_path)) == 1
    assert check(tmp_path)[0].startswith(f"{SERVICES}/intake/planted.py:")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("libs/penstock/store/a.py", "import psycopg\nrows('SELECT 1')\n"),
        ("libs/penstock/kafka/a.py", "import confluent_kafka.admin\n"),
        (f"{SERVICES}/gateway/a.py", "from aiohttp import web\n"),
        ("libs/penstock/cli/a.py", "import aiohttp\nprint('Update the schema')\n"),
        ("libs/penstock/runtime/clock.py", "import time\ntime.time()\n"),
        ("libs/penstock/core/a.py", "def f(now): ...\ndate = datetime.fromtimestamp(f)\n"),
        (
            "libs/penstock/a.py",
            "try:\n    f()\nexcept Exception:  # noqa: BLE001 - a plug-in may raise it\n    g()\n",
        ),
        ("libs/penstock/a.py", "try:\n    f()\nexcept BaseException:\n    clean()\n    raise\n"),
        ("libs/penstock/a.py", "try:\n    f()\nexcept Exception:  # a plug-in may raise it\n    g()\n"),
    ],
)
def test_what_is_at_home_is_not_flagged(tmp_path: Path, path: str, text: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    assert [found for check in CHECKS for found in check(tmp_path)] == []
