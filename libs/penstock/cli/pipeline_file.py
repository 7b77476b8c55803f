"""A pipeline file on disk: read, checked as the gateway would check it, and made into a request."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import orjson

from penstock.core.errors import Problem, RejectInput, StopProcess
from penstock.definition import Definition, Source, check, load_json_object, load_yaml

STDIN = "-"


@dataclasses.dataclass(frozen=True)
class PipelineFile:
    """The file as it was read. `name` is what problems call it."""

    name: str
    data: bytes
    is_json: bool

    @property
    def text(self) -> str:
        """For showing lines of it."""
        return self.data.decode("utf-8", "replace")

    def check(self) -> Definition:
        """What it defines. Raises RejectInput with every problem."""
        return check(self._source())

    def fields(self) -> dict[str, Any]:
        """The part of a request that is the definition."""
        if self.is_json:
            return {"definition": self._source().data}
        return {"definition_yaml": self.data.decode()}

    def _source(self) -> Source:
        if not self.is_json:
            return load_yaml(self.data)
        try:
            return load_json_object(orjson.loads(self.data))
        except orjson.JSONDecodeError as error:
            raise RejectInput(
                Problem(f"this is not JSON: {error.msg}", line=error.lineno, column=error.colno)
            ) from None


def read_pipeline_file(name: str) -> PipelineFile:
    """The file of this name, or standard input for `-`. One that ends in `.json` is JSON, others are YAML.

    Raises:
        RejectInput: there is no such file.
        StopProcess: it cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except FileNotFoundError:
        hint = "name a pipeline file, or - for standard input"
        raise RejectInput(Problem(f"there is no file {name}", hint=hint)) from None
    except OSError as error:
        raise StopProcess(f"{name} cannot be read: {error.strerror}") from None
    return PipelineFile("(stdin)" if name == STDIN else name, data, name.endswith(".json"))
