"""`compose.yaml` and the image: every command is a service, every setting is known, and none is missing."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from penstock.local.prepare import SERVERS, SecretSettings
from penstock.runtime.settings import PREFIX, documented, load
from penstock.store import roles

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
DOCKERFILE: Final = (ROOT / "deploy" / "Dockerfile").read_text("utf-8")
SERVICES: Final = {point.name for point in entry_points(group="penstock.services")}
OURS: Final = {name for name, one in COMPOSE["services"].items() if one.get("image") == "penstock"}


def environment(name: str) -> dict[str, str]:
    """A service's variables, with the defaults of those that a file .env may set."""
    given = COMPOSE["services"][name].get("environment", {})
    return {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in given.items()}


def settings_of(service: str) -> Any:
    """The settings class of a service: the one of its module that has a field `process`."""
    module = importlib.import_module(f"penstock_services.{service}.settings")
    (found,) = (
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and kind.__module__ == module.__name__
        and "process" in getattr(kind, "__dataclass_fields__", {})
    )
    return found


def test_every_service_is_there_and_nothing_else() -> None:
    assert OURS - {"setup"} == SERVICES
    assert set(COMPOSE["services"]) - OURS == {"kafka", "postgres", "s3"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_starts_itself_with_settings_that_load(name: str) -> None:
    assert COMPOSE["services"][name]["command"] == ["service", name]
    given = environment(name)
    kind = settings_of(name)
    known = {variable for variable, *_ in documented(kind)}
    assert {variable for variable in given if variable not in known} == set()
    assert load(kind, given)


@pytest.mark.parametrize("name", sorted(roles.SERVICES))
def test_a_service_connects_as_its_own_role(name: str) -> None:
    owner = environment("setup")
    dsn = roles.service_dsn(owner["PENSTOCK_POSTGRES_DSN"], name, owner["PENSTOCK_LOCAL_PASSWORD"])
    assert environment(name)["PENSTOCK_POSTGRES_DSN"] == dsn


def test_every_service_waits_for_the_setup() -> None:
    for name in SERVICES:
        assert COMPOSE["services"][name]["depends_on"] == {
            "setup": {"condition": "service_completed_successfully"}
        }


def test_the_setup_prepares_every_server() -> None:
    (script,) = COMPOSE["services"]["setup"]["command"]
    assert re.findall(r"python -m penstock\.local\.prepare (\w+)", script) == list(SERVERS)
    assert load(SecretSettings, environment("setup"))
    assert set(COMPOSE["services"]["setup"]["depends_on"]) == set(SERVERS)


def test_variables_that_people_set_have_defaults() -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")
    assert set(re.findall(r"\$\{(\w+)", text)) == set(re.findall(r"\$\{(\w+):-[^}]+\}", text))


def test_only_loopback_is_published() -> None:
    published = [port for one in COMPOSE["services"].values() for port in one.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_volumes_are_declared() -> None:
    used = {
        one.split(":")[0] for service in COMPOSE["services"].values() for one in service.get("volumes", [])
    }
    assert used == set(COMPOSE["volumes"])


ADDRESSES: Final = frozenset((
    "controller.quorum.voters", "listeners", "advertised.listeners", "listener.security.protocol.map",
    "inter.broker.listener.name", "log.dirs",
))  # fmt: skip
"""Where a broker listens and writes is each one's own."""
SMALL: Final = frozenset((
    "offsets.topic.num.partitions", "transaction.state.log.num.partitions",
    "share.coordinator.state.topic.num.partitions", "log.segment.bytes", "log.cleaner.dedupe.buffer.size",
    "num.network.threads", "num.io.threads", "num.recovery.threads.per.data.dir",
))  # fmt: skip
"""What makes the local broker small and quick to start; nothing that anybody can tell from outside."""


def test_the_broker_is_set_as_the_local_one() -> None:
    """`penstock.local.kafka` says how; this is the same in the words of the image."""
    from penstock.local.kafka import properties

    local = dict(line.split("=", 1) for line in properties(1, 2, 1).splitlines())
    given = {
        key.removeprefix("KAFKA_").replace("_", ".").lower(): one for key, one in environment("kafka").items()
    }
    alike = local.keys() - ADDRESSES - SMALL
    assert {name: given.get(name) for name in alike} == {name: local[name] for name in alike}
    assert given.keys() - alike <= ADDRESSES
    assert local.keys() >= SMALL


def test_the_image_is_built_with_the_pinned_uv_and_runs_as_nobody_special() -> None:
    (pinned,) = re.findall(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert f"uv=={pinned}\n" in DOCKERFILE
    assert re.search(r"^USER penstock$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.rstrip().endswith('ENTRYPOINT ["penstock"]')
    copied = {
        word
        for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for word in line.split()
    }
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_variables_of_the_image_are_settings() -> None:
    known = {variable for name in SERVICES for variable, *_ in documented(settings_of(name))}
    assert set(re.findall(rf"\b({PREFIX}\w+)=", DOCKERFILE)) <= known
