"""Settings of the local stack, and where its downloads are cached."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from penstock.core.errors import Problem, RejectInput
from penstock.runtime import settings


@dataclasses.dataclass(frozen=True)
class LocalSettings:
    """What `penstock up` and `penstock fetch` read from the environment."""

    maven_url: str = settings.setting("", doc="Maven repository for the jars; empty for the public one.")
    kafka_port: int = settings.setting(29092, doc="Preferred port of Kafka; the next free one is taken.")
    kafka_advertised_port: int = settings.setting(
        0, doc="Port that Kafka names to its clients, when something stands before it; 0: its own."
    )
    postgres_port: int = settings.setting(25432, doc="Preferred port of Postgres.")
    s3_port: int = settings.setting(29000, doc="Preferred port of the S3 server.")
    gateway_port: int = settings.setting(8470, doc="Preferred port of the gateway.")
    health_port: int = settings.setting(18470, doc="Preferred first port of the services' health pages.")
    local_replicas: tuple[str, ...] = settings.setting(
        (), doc="Replicas per service in the local stack, e.g. `advancer=2,runner=2`; others have one."
    )
    kafka_heap_mb: int = settings.setting(512, doc="Heap limit of the local Kafka, in MiB.")
    start_seconds: float = settings.setting(90.0, doc="How long one component may take to become ready.")


def cache_folder(stack_folder: Path) -> Path:
    """The folder of downloaded jars: shared by all checkouts of a user, else inside `.penstock/`.

    `XDG_CACHE_HOME`, then `~/.cache`; when `HOME` is unset or not ours to write, `.penstock/cache`.
    """
    xdg, home = settings.variable("XDG_CACHE_HOME"), settings.variable("HOME")
    base = Path(xdg) if xdg else Path(home) / ".cache" if home else None
    if base is not None and base.is_absolute():
        shared = base / "penstock" / "jars"
        try:
            shared.mkdir(parents=True, exist_ok=True)
        except OSError:
            pass
        else:
            return shared
    private = stack_folder / "cache" / "jars"
    private.mkdir(parents=True, exist_ok=True)
    return private


def parse_replicas(words: tuple[str, ...], known: tuple[str, ...]) -> dict[str, int]:
    """`("advancer=2", …)` as {service: replicas}, every service at least named; 0 leaves one out.

    Raises:
        RejectInput: a word is not NAME=NUMBER with a known name and 0..64; names all such words.
    """
    replicas = dict.fromkeys(known, 1)
    problems: list[Problem] = []
    for word in words:
        name, _, number = word.partition("=")
        if name not in replicas:
            problems.append(
                Problem(
                    f"no service is called {name!r}",
                    path=f"replicas {word}",
                    hint=f"one of {', '.join(known)}",
                )
            )
        elif not (number.isascii() and number.isdigit() and int(number) <= 64):
            problems.append(
                Problem(
                    f"{number!r} is not a number of replicas",
                    path=f"replicas {word}",
                    hint=f"e.g. {name}=2; 0 to 64",
                )
            )
        else:
            replicas[name] = int(number)
    if problems:
        raise RejectInput(problems)
    return replicas
