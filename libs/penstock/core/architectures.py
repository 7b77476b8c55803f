"""Processor architectures, as `uname -m` names them on Linux, and what else they are called."""

from __future__ import annotations

from typing import Final

ARCHITECTURES: Final = (
    "x86_64", "aarch64", "armv6l", "armv7l", "i686", "loongarch64", "ppc64le", "riscv64", "s390x",
)  # fmt: skip
ALIASES: Final = {"amd64": "x86_64", "x64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64"}


def architecture(word: str) -> str:
    """The name that jobs and runners are compared by; a word that is not known stays as it is."""
    lower = word.lower()
    return ALIASES.get(lower, lower)
