"""Encode with orjson, decode and validate with msgspec; a record that does not fit is a `DeadLetter`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
import orjson

from penstock.core.errors import DeadLetter

T = TypeVar("T")


class Codec(Generic[T]):
    """Decoder of one record type, made once: building a decoder costs far more than using it."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, value: bytes | None) -> T:
        """The validated record.

        Raises:
            DeadLetter: empty, not JSON, not UTF-8, or of another shape; the text says where.
        """
        if not value:
            raise DeadLetter(f"{self.kind.__name__}: the record has no value")
        try:
            return self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DeadLetter(f"{self.kind.__name__}: {error}") from error


_encoder = msgspec.json.Encoder()


def encode(record: msgspec.Struct) -> bytes:
    """JSON bytes of a record."""
    return _encoder.encode(record)


def dumps(value: Any) -> bytes:
    """JSON bytes of plain data."""
    return orjson.dumps(value)
