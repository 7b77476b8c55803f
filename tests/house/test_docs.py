"""The documentation is true where a machine can tell: tables, names, links, examples."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from penstock.cli import COMMANDS
from penstock.core.states import REASONS
from penstock.definition import check, load_json_object, load_yaml
from penstock.events import pipelines, topics
from penstock.local.prepare import SecretSettings
from penstock.local.settings import LocalSettings
from penstock.runtime.settings import documented

ROOT: Final = Path(__file__).parents[2]
STORE: Final = ROOT / "libs/penstock/store"
PAGES: Final = {
    str(page.relative_to(ROOT)): page.read_text("utf-8")
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
}
EXAMPLE: Final = json.loads((ROOT / "schemas/examples/pipeline.status.v1.failed.json").read_text("utf-8"))


def load_tables() -> Any:
    spec = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tables = load_tables()


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(page, text) of every block of code in this language."""
    for name, text in PAGES.items():
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            yield name, match[1]


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_tables_are_fresh(name: str) -> None:
    assert tables.filled(PAGES[name]) == PAGES[name], "run: python docs/tables.py"


def test_every_table_has_a_page() -> None:
    placed = {name for text in PAGES.values() for _, name, _ in tables.PLACE.findall(text)}
    assert placed == set(tables.TABLES)


def test_a_stale_table_is_noticed() -> None:
    stale = "a\n<!-- table: exit-codes -->\n| 0 | wrong |\n<!-- end -->\nb\n"
    fresh = tables.filled(stale)
    assert fresh != stale
    assert tables.filled(fresh) == fresh
    assert fresh.startswith("a\n<!-- table: exit-codes -->\n")
    assert fresh.endswith("<!-- end -->\nb\n")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[name])):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), target


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_names_in_pages_are_real(name: str) -> None:
    text = PAGES[name]
    functions = {file.stem for file in (STORE / "functions").iterdir()} | {"clock_v1"}
    assert set(re.findall(r"`(\w+_v\d+)`", text)) - functions == set()
    kinds = (*tables.settings_of_services().values(), LocalSettings, SecretSettings, tables.DoorSettings)
    settings = {variable for kind in kinds for variable, *_ in documented(kind)} | {"PENSTOCK_DEBUG"}
    settings |= variables_of_tests()
    assert set(re.findall(r"\bPENSTOCK_[A-Z0-9_]+[A-Z0-9]\b", text)) - settings == set()
    commands = re.findall(r"(?:`|^|; )penstock ([a-z]+)\b", text, re.MULTILINE)
    assert set(commands) - set(COMMANDS) == set()
    known = {topic.name for topic in topics.TOPICS} | {topics.dlq_of(topic.name) for topic in topics.TOPICS}
    written = {word.removesuffix(".*") for word in re.findall(r"`penstock\.([a-z.]+[a-z])`", text)}
    packages = {path.name for path in (ROOT / "libs/penstock").iterdir()} | {"services"}
    modules = {word for word in written if word.split(".")[0] in packages}
    assert {f"penstock.{word}" for word in written - modules} - known == set()


def variables_of_tests() -> set[str]:
    """What tests are told by whoever runs them."""
    files = [file.read_text("utf-8") for file in (ROOT / "tests").rglob("*.py")]
    return set(re.findall(r"os\.environ(?:\.get\(|\[)\"(PENSTOCK_\w+)\"", "\n".join(files)))


def test_what_tests_are_told_is_in_the_page_for_contributors() -> None:
    assert variables_of_tests()
    assert {name for name in variables_of_tests() if name not in PAGES["CONTRIBUTING.md"]} == set()


def test_every_reason_is_explained() -> None:
    page = PAGES["docs/job-life-cycle.md"]
    rows = page[page.index("| reason |") :]
    assert sorted(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", rows, re.MULTILINE)))) == (
        sorted(REASONS)
    )


def test_every_table_of_the_database_is_in_the_architecture() -> None:
    migrations = "\n".join(file.read_text("utf-8") for file in (STORE / "migrations").iterdir())
    names = set(re.findall(r"^CREATE TABLE (\w+) ", migrations, re.MULTILINE))
    page = PAGES["docs/architecture.md"]
    assert names
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_every_service_is_in_the_architecture() -> None:
    page = PAGES["docs/architecture.md"]
    assert {name for name in tables.settings_of_services() if f"| {name} |" not in page} == set()


@pytest.mark.parametrize("name", ["CHANGELOG.md", "docs/operating.md"])
def test_every_service_that_compares_its_partitions_is_named(name: str) -> None:
    rooms = (ROOT / "services" / "penstock_services").glob("*/__main__.py")
    comparing = {room.parent.name for room in rooms if "require_partitions(" in room.read_text("utf-8")}
    assert comparing
    sentences = re.split(r"\.\s", PAGES[name])
    (told,) = (one for one in sentences if "PENSTOCK_KAFKA_PARTITIONS" in one and "not start" in one)
    words = set(re.findall(r"\w+", told.lower()))
    assert comparing - words == set()


def test_every_decision_is_listed() -> None:
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", PAGES["docs/adr/README.md"]))
    assert listed == {Path(name).name for name in PAGES if re.match(r"docs/adr/\d", name)}


@pytest.mark.parametrize(("name", "text"), list(blocks("yaml")))
def test_pipeline_files_in_pages_are_right(name: str, text: str) -> None:
    assert check(load_yaml(text.encode()))


@pytest.mark.parametrize(("name", "text"), list(blocks("python")))
def test_programs_in_pages_work(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Against a client that has the calls of the real one that they use."""
    client = types.ModuleType("confluent_kafka")
    client.Producer = Producer  # type: ignore[attr-defined]
    client.Consumer = Consumer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "confluent_kafka", client)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".penstock").mkdir()
    (tmp_path / ".penstock" / "stack.json").write_text('{"kafka": {"bootstrap": "127.0.0.1:9092"}}')
    Producer.produced.clear()
    exec(compile(text, name, "exec"), {})
    for topic, key, value in Producer.produced:
        request = pipelines.requested.decode(value.encode())
        assert (topic, key) == (topics.PIPELINES_REQUESTED.name, request.tenant)
        assert request.definition is not None
        assert check(load_json_object(request.definition))
    assert Producer.produced or EXAMPLE["state"] in capsys.readouterr().out


class Producer:
    """Keeps what it is given."""

    produced: Final[list[tuple[str, str, str]]] = []

    def __init__(self, config: dict[str, str]) -> None:
        assert config["bootstrap.servers"]

    def produce(self, topic: str, *, key: str, value: str) -> None:
        self.produced.append((topic, key, value))

    def flush(self) -> int:
        return 0


class Message:
    """The end of a pipeline."""

    def error(self) -> None:
        return None

    def value(self) -> bytes:
        return json.dumps(EXAMPLE).encode()


class Consumer:
    """Has one message."""

    def __init__(self, config: dict[str, str]) -> None:
        assert {"bootstrap.servers", "group.id"} <= set(config)

    def subscribe(self, names: list[str]) -> None:
        assert set(names) <= {topic.name for topic in topics.TOPICS if topic.kind == "public"}

    def poll(self, _timeout: float) -> Message:
        return Message()

    def close(self) -> None: ...


def test_the_glossary_is_in_the_order_of_the_alphabet() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\*", PAGES["docs/glossary.md"], re.MULTILINE)
    assert words == sorted(set(words))
    assert len(words) > 30
