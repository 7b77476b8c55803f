"""Settings: frozen dataclasses read once from `PENSTOCK_*` variables; the only reader of the environment.

A field `lease_ttl` is set by `PENSTOCK_LEASE_TTL`, or by `PENSTOCK_LEASE_TTL_FILE` naming a file that holds
the value (for secrets). A field whose type is itself a settings dataclass is read in place, so a service's
settings are groups side by side in one flat, documented namespace.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from penstock.core.errors import StopProcess

PREFIX = "PENSTOCK_"
EXCLUSIVE_SECONDS = 90.0
EXCLUSIVE_RESERVE_SECONDS = 5.0
"""An exclusive attempt is dead so long before its lease ends."""
S = TypeVar("S")


def setting(default: Any = dataclasses.MISSING, *, doc: str, secret: bool = False) -> Any:
    """A field of a settings dataclass, documented where it is declared. No default: it must be set."""
    metadata = {"doc": doc, "secret": secret}
    if default is dataclasses.MISSING:
        return dataclasses.field(kw_only=True, metadata=metadata)
    return dataclasses.field(kw_only=True, default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class KafkaSettings:
    """How to reach the brokers."""

    kafka_bootstrap: str = setting(doc="Brokers as host:port, comma separated.")
    kafka_security_protocol: str = setting("PLAINTEXT", doc="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    kafka_sasl_mechanism: str = setting("", doc="SCRAM-SHA-512, PLAIN …; empty without SASL.")
    kafka_sasl_username: str = setting("", doc="User for SASL.")
    kafka_sasl_password: str = setting("", doc="Password for SASL.", secret=True)
    kafka_partitions: int = setting(
        8, doc="Partitions of each partitioned topic: what `topics apply` makes and services reckon with."
    )
    kafka_replication: int = setting(1, doc="Replicas of each partition; production: 3.")


@dataclasses.dataclass(frozen=True)
class PostgresSettings:
    """How to reach the primary."""

    postgres_dsn: str = setting(doc="libpq URL of the primary; a transaction pooler is fine.", secret=True)


@dataclasses.dataclass(frozen=True)
class ObjectSettings:
    """How to reach the object storage."""

    s3_endpoint: str = setting("", doc="URL of the S3 server; empty for AWS.")
    s3_access_key: str = setting(doc="Access key.", secret=True)
    s3_secret_key: str = setting(doc="Secret key.", secret=True)
    s3_bucket: str = setting("penstock", doc="Bucket for logs and definitions; it must exist.")
    s3_region: str = setting("us-east-1", doc="Region used in signatures.")


@dataclasses.dataclass(frozen=True)
class TimingSettings:
    """The clocks of the protocol (§3, §4); every service of an installation must agree on them."""

    heartbeat_seconds: float = setting(5.0, doc="A runner's heartbeat period.")
    session_ttl_seconds: float = setting(
        15.0, doc="A lease lives this long after the last heartbeat of its session."
    )
    exclusive_seconds: float = setting(
        EXCLUSIVE_SECONDS,
        doc="A lease of an exclusive attempt lives this long, and the job's cancel-grace.",
    )
    scan_seconds: float = setting(1.0, doc="How often the reaper looks for expired leases and due timers.")
    sweep_seconds: float = setting(5.0, doc="How often each sweep looks for work whose event was lost.")

    @property
    def gather_seconds(self) -> float:
        """Heartbeats wait for so long to be read together with others; nobody waits for one of them."""
        return self.heartbeat_seconds / 20

    def __post_init__(self) -> None:
        # A grant may wait for three heartbeats; the first one that renews its lease comes after its start.
        least = max(self.session_ttl_seconds, 4 * self.heartbeat_seconds) + EXCLUSIVE_RESERVE_SECONDS
        if self.exclusive_seconds < least:
            raise ValueError(
                f"PENSTOCK_EXCLUSIVE_SECONDS={self.exclusive_seconds:g} must be at least {least:g}: the"
                " longer of a TTL and four heartbeats, and"
                f" {EXCLUSIVE_RESERVE_SECONDS:g} s to be dead before it"
            )


@dataclasses.dataclass(frozen=True)
class RetrySettings:
    """How long a job waits for its next try: full jitter over base * 2^(tries - 1), at most the cap (S89)."""

    retry_base_seconds: float = setting(30.0, doc="Upper bound of the wait before the second try.")
    retry_cap_seconds: float = setting(600.0, doc="Upper bound of any wait.")


@dataclasses.dataclass(frozen=True)
class ProcessSettings:
    """What every process has."""

    http_host: str = setting("127.0.0.1", doc="Address of /healthz, /readyz and /metrics.")
    http_port: int = setting(0, doc="Port of /healthz, /readyz and /metrics; 0 takes a free one.")
    log_format: str = setting("console", doc="`json` or `console`.")
    log_level: str = setting("info", doc="debug, info, warning or error.")
    instance: str = setting("", doc="Name of this replica in logs and metrics; made up when empty.")


def load(kind: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Read a settings dataclass from the environment.

    Raises:
        StopProcess: a required variable is missing or a value does not parse; names all of them at once.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    loaded = _load(kind, environ, problems)
    if problems:
        raise StopProcess("settings: " + "; ".join(problems))
    assert loaded is not None
    return loaded


def documented(kind: type[Any]) -> Iterator[tuple[str, str, object, str]]:
    """(variable, type, default, documentation) of every setting, for docs and `penstock service --help`."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from documented(hint)  # type: ignore[arg-type]
        else:
            default = "required" if field.default is dataclasses.MISSING else field.default
            yield PREFIX + field.name.upper(), hint.__name__, default, field.metadata["doc"]


def environment() -> dict[str, str]:
    """A copy of the process's environment, for those who start other processes."""
    return dict(os.environ)


def variable(name: str, default: str = "") -> str:
    """One variable that is not Penstock's own (`HOME`, `XDG_CACHE_HOME`, `CI`, …)."""
    return os.environ.get(name, default)


def unknown_variables(kinds: list[type[Any]], environ: Mapping[str, str]) -> list[str]:
    """`PENSTOCK_*` variables that no settings class knows, each with its nearest known name."""
    known = {name for kind in kinds for name, *_ in documented(kind)}
    found: list[str] = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known and name.removesuffix("_FILE") not in known:
            near = difflib.get_close_matches(name, known, n=1)
            found.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return found


def _load(kind: type[S], environ: Mapping[str, str], problems: list[str]) -> S | None:
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    before = len(problems)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            values[field.name] = _load(hint, environ, problems)  # type: ignore[arg-type]
            continue
        name = PREFIX + field.name.upper()
        text = _text(name, environ, problems)
        if text is None:
            if field.default is dataclasses.MISSING:
                problems.append(f"{name} must be set ({field.metadata['doc']})")
            continue
        try:
            values[field.name] = _parse(text, hint)
        except ValueError:
            problems.append(f"{name}={text!r} is not a valid {hint.__name__}")
    if len(problems) > before:
        return None
    try:
        return kind(**values)
    except ValueError as error:
        problems.append(str(error))
        return None


def _text(name: str, environ: Mapping[str, str], problems: list[str]) -> str | None:
    if name in environ:
        return environ[name]
    file = environ.get(name + "_FILE")
    if file is None:
        return None
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        problems.append(f"{name}_FILE: {error}")
        return None


def _parse(text: str, hint: Any) -> Any:
    if hint is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        raise ValueError(text)
    if hint == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return hint(text)
