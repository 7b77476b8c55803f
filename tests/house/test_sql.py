"""The SQL files: every column documented, one versioned function a file, sets and never rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
STORE: Final = Path("libs/penstock/store")
LOOPS_OVER_TABLES: Final = re.compile(r"\w+_partitions_v\d+\.sql")
"""They loop over the few tables and weeks that have a partition, never over rows."""
ONE_AFTER_THE_OTHER: Final = {"admit_v1.sql"}
"""What they decide about one row depends on what they decided about those before it."""
TABLE_WORDS: Final = ("PRIMARY", "CHECK", "UNIQUE", "FOREIGN", "CONSTRAINT", "EXCLUDE", "LIKE")
SESSION_STATE: Final = re.compile(
    r"\b(set_config(?!\([^()]*, true\))|LISTEN|NOTIFY|PREPARE|DEALLOCATE|DISCARD|TEMP|TEMPORARY"
    r"|pg_(?:try_)?advisory_lock\w*|nextval)\b"
)
"""What outlives a transaction; `set_config(…, true)` does not."""
GIVEN: Final = r"json_to_recordset\([^()]*\)\s*AS\s+\w+\s*\([^()]*(?:\([^()]*\)[^()]*)*\)"
TURNED_ROUND: Final = (
    re.compile(rf"{GIVEN}\s+(?:(?:LEFT|INNER|CROSS)\s+)?JOIN\s+(?!LATERAL)(\w+)"),
    re.compile(rf"UPDATE\s+(\w+)\s[^;]*?\sFROM\s+{GIVEN}\s+WHERE(?![^;]*?\w+\s=\sANY\s)"),
)
"""A table joined with an argument: by a plan that was made while it was small, it is read whole each time."""


def function_faults(root: Path) -> list[str]:
    """What is wrong with the function files, as `file: what`."""
    found: list[str] = []
    for file in sorted((root / STORE / "functions").iterdir()):
        text = file.read_text("utf-8")
        found += [f"{file.name}: {fault}" for fault in _faults(file.name, text)]
    return found


def undocumented(root: Path) -> list[str]:
    """Tables and columns of the migrations without a comment."""
    text = _without_comments("\n".join(_migrations(root)))
    there: list[str] = []
    for match in re.finditer(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)(?= \()", text):
        there.append(f"TABLE {match[1]}")
        there += [f"COLUMN {match[1]}.{name}" for name in _columns(text, match.end() + len(" ("))]
    for table, column in re.findall(r"ALTER TABLE (\w+)\s+ADD COLUMN (\w+)", text):
        there.append(f"COLUMN {table}.{column}")
    said = set(re.findall(r"COMMENT ON (TABLE \w+|COLUMN \w+\.\w+) IS '[^']", text))
    return [name for name in there if name not in said]


def _faults(name: str, text: str) -> Iterator[str]:
    match = re.fullmatch(r"(\w+_v[1-9]\d*)\.sql", name)
    if match is None:
        yield "is not named FUNCTION_vN.sql"
    code = _without_comments(text)
    made = re.findall(r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(\w+)\s+(\w+)", code)
    if match is None or made != [("FUNCTION", match[1])]:
        yield f"makes {', '.join(' '.join(one) for one in made)}, not just the function of its name"
    if not text.startswith("-- "):
        yield "does not begin with what it does"
    head, *bodies = code.split("$$")
    body = bodies[0] if bodies else ""
    if re.search(r"\bSET\b", head + "".join(bodies[1:])):
        yield "has a SET clause, which costs every call"
    may_loop = LOOPS_OVER_TABLES.fullmatch(name) or name in ONE_AFTER_THE_OTHER
    if re.search(r"\bLOOP\b", body) and not may_loop:
        yield "loops"
    for pattern in TURNED_ROUND:
        if table := pattern.search(body):
            yield f"joins {table[1]} with its argument: look rows up by = ANY (array) or LATERAL (… OFFSET 0)"
    if session := SESSION_STATE.search(body):
        yield f"uses {session[0]}: a transaction pooler gives every transaction another session"


def _migrations(root: Path) -> Iterator[str]:
    for file in sorted((root / STORE / "migrations").iterdir()):
        yield file.read_text("utf-8")


def _without_comments(text: str) -> str:
    return re.sub(r"--[^\n]*", "", text)


def _columns(text: str, begin: int) -> Iterator[str]:
    """Names of the columns of a table whose definition begins behind its opening parenthesis."""
    depth, part, parts = 1, "", list[str]()
    for sign in text[begin:]:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth == 0 or (sign == "," and depth == 1):
            parts.append(part)
            part = ""
        else:
            part += sign
        if depth == 0:
            break
    for one in parts:
        word = one.split()[0]
        if word not in TABLE_WORDS:
            yield word


def plant(root: Path, path: str, text: str) -> None:
    (root / STORE / path).parent.mkdir(parents=True, exist_ok=True)
    (root / STORE / path).write_text(text)


@pytest.mark.parametrize("check", [function_faults, undocumented], ids=lambda check: check.__name__)
def test_the_rules_hold_here(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


def test_the_tables_are_seen() -> None:
    text = _without_comments("\n".join(_migrations(ROOT)))
    begin = text.index("CREATE TABLE jobs (") + len("CREATE TABLE jobs (")
    columns = list(_columns(text, begin))
    assert {"id", "lane", "state", "bad_needs", "changed_at"} <= set(columns)
    assert len(columns) == len(set(columns)) > 15


GOOD: Final = """-- Does it.
CREATE OR REPLACE FUNCTION good_v1(ids uuid[]) RETURNS void
LANGUAGE sql AS $$
    UPDATE jobs SET state = 'QUEUED' FROM unnest(ids) AS i WHERE id = i
$$;
"""


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("good.sql", GOOD, "is not named"),
        ("good_v2.sql", GOOD, "makes FUNCTION good_v1"),
        ("good_v1.sql", GOOD + GOOD, "makes FUNCTION good_v1, FUNCTION good_v1"),
        ("good_v1.sql", GOOD + "CREATE INDEX i ON jobs (state);", "makes FUNCTION good_v1, INDEX i"),
        ("good_v1.sql", GOOD.removeprefix("-- Does it.\n"), "does not begin"),
        ("good_v1.sql", GOOD.replace("sql AS", "sql SET search_path = public AS"), "has a SET clause"),
        ("good_v1.sql", GOOD.replace("$$;", "$$ SET enable_seqscan = off;"), "has a SET clause"),
        ("good_v1.sql", GOOD.replace("UPDATE", "FOR r IN SELECT 1 LOOP UPDATE"), "loops"),
        (
            "good_v1.sql",
            GOOD.replace("UPDATE", "PERFORM pg_advisory_lock(1); UPDATE"),
            "uses pg_advisory_lock",
        ),
        ("good_v1.sql", GOOD.replace("UPDATE", "CREATE TEMP TABLE t (); UPDATE"), "uses TEMP"),
        (
            "good_v1.sql",
            GOOD.replace("UPDATE", "PERFORM set_config('a', 'b', false); UPDATE"),
            "uses set_config",
        ),
        (
            "good_v1.sql",
            GOOD.replace(
                "id = i",
                "id = i AND EXISTS (SELECT FROM json_to_recordset(a) AS a(id uuid) JOIN jobs AS j ON true)",
            ),
            "joins jobs with its argument",
        ),
        (
            "good_v1.sql",
            GOOD.replace("unnest(ids) AS i", "json_to_recordset(a) AS a(id uuid)"),
            "joins jobs with",
        ),
    ],
)
def test_a_planted_function_is_flagged(tmp_path: Path, name: str, text: str, fault: str) -> None:
    plant(tmp_path, f"functions/{name}", text)
    assert any(found.startswith(f"{name}: {fault}") for found in function_faults(tmp_path))


def test_a_right_function_is_not_flagged(tmp_path: Path) -> None:
    plant(tmp_path, "functions/good_v1.sql", GOOD)
    assert function_faults(tmp_path) == []


def test_planted_undocumented_columns_are_flagged(tmp_path: Path) -> None:
    text = """
    CREATE TABLE a (
        id    uuid PRIMARY KEY CHECK (id IN ('x', 'y')), -- the key
        price numeric(10, 2) NOT NULL,
        PRIMARY KEY (id, price)
    );
    COMMENT ON TABLE a IS 'Something.';
    COMMENT ON COLUMN a.id IS 'Its id.';
    ALTER TABLE a ADD COLUMN late int;
    """
    plant(tmp_path, "migrations/0001_a.sql", text)
    assert undocumented(tmp_path) == ["COLUMN a.price", "COLUMN a.late"]
