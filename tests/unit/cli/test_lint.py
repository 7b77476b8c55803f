"""`penstock lint`: offline, all problems of all files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from penstock import cli
from penstock.cli import demo, exit_codes

ROOT = Path(__file__).parents[3]
OURS = sorted([*ROOT.glob("examples/*.yml"), *Path(demo.__file__).parent.glob("*.yml")])


def penstock(*words: str, **more: str) -> Result:
    return CliRunner().invoke(cli.main, list(words), **more)  # type: ignore[arg-type]


def test_a_good_file_is_summed_up() -> None:
    Path("a.yml").write_text("jobs:\n  a: {run: x}\n  b: {run: x, needs: a}\n  c: {run: x}\n")
    result = penstock("lint", "a.yml")
    assert (result.exit_code, result.stdout) == (exit_codes.OK, "a.yml: ok, 3 jobs on 2 levels\n")


def test_problems_of_all_files_are_told() -> None:
    Path("a.yml").write_text("jobs:\n  a: {neds: b, run: x}\n")
    Path("b.yml").write_text("jobs:\n  a: {run: x}\n")
    Path("c.json").write_text('{"jobs": {"a": {}}}')
    result = penstock("lint", "a.yml", "b.yml", "c.json")
    assert result.exit_code == exit_codes.USAGE
    assert "a.yml:2:7: error: jobs.a.neds:" in result.stderr
    assert "hint: did you mean `needs`?" in result.stderr
    assert "a.yml: 1 problem\n" in result.stderr
    assert "c.json: error: jobs.a" in result.stderr
    assert result.stdout == "b.yml: ok, 1 job on 1 level\n"


def test_as_json() -> None:
    Path("a.yml").write_text("jobs: 7\n")
    (found,) = json.loads(penstock("lint", "a.yml", "--json").stdout)["files"]
    assert (found["file"], found["ok"], found["problems"][0]["line"]) == ("a.yml", False, 1)


@pytest.mark.parametrize(
    ("name", "data"), [("a.json", b"{"), ("a.yml", b"\xff\xfe"), ("a.yml", b""), ("a.yml", b"- 1")]
)
def test_what_is_no_definition_has_a_problem(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)
    result = penstock("lint", name)
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr.startswith(f"{name}:")


def test_standard_input_can_be_checked() -> None:
    result = penstock("lint", "-", input="jobs: {a: {run: x}}")
    assert result.stdout == "(stdin): ok, 1 job on 1 level\n"


def test_a_file_that_is_not_there() -> None:
    result = penstock("lint", "none.yml")
    assert result.exit_code == exit_codes.USAGE
    assert "there is no file none.yml" in result.stderr


def test_a_folder_is_no_file() -> None:
    Path("folder.yml").mkdir()
    assert penstock("lint", "folder.yml").exit_code == exit_codes.CONFIGURATION


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_own_files_are_good(path: Path) -> None:
    assert penstock("lint", str(path)).exit_code == exit_codes.OK
