"""What a mutant is: Penstock with one rule of its protocol taken out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import NamedTuple

from penstock.runtime.settings import variable
from penstock.store import setup
from penstock.store.database import Database

INSTANCE = "PENSTOCK_INSTANCE"


class Text(NamedTuple):
    """A place in a function of the schema: what stands there, and what the mutant has instead."""

    function: str
    right: str
    wrong: str


class Mutant(NamedTuple):
    """One broken rule. It is planted from outside: no line of production code knows of it."""

    name: str
    breaks: str
    """What is no longer so."""
    scenario: str
    """The play that always shows it."""
    shows: tuple[str, ...]
    """Invariants of which at least one must be named as broken."""
    texts: tuple[Text, ...] = ()
    """Planted in the database, for everybody."""
    patch: Callable[[], None] | None = None
    """Planted in a process at its start."""
    services: tuple[str, ...] = ()
    """Those that the patch is for."""

    def install(self) -> None:
        """Become this mutant, if this process is one of its services; before anything of it is made."""
        if self.patch is not None and variable(INSTANCE).rpartition("-")[0] in self.services:
            self.patch()

    def functions(self) -> dict[str, str]:
        """Name and mutated text of every function of the schema that it changes."""
        changed: dict[str, str] = {}
        for function, right, wrong in self.texts:
            text = changed.get(function) or original(function)
            assert text.count(right) == 1, f"{function} holds {right!r} {text.count(right)} times"
            changed[function] = text.replace(right, wrong)
        return changed

    def plant(self, db: Database) -> None:
        """Replace its functions in a database. Raises RetryLater."""
        for text in self.functions().values():
            setup.replace_function(db, text)

    def restore(self, db: Database) -> None:
        """Put the right ones back. Raises RetryLater."""
        for function in self.functions():
            setup.replace_function(db, original(function))


def original(function: str) -> str:
    """The text of a function as it is released."""
    return (resources.files("penstock.store") / "functions" / f"{function}.sql").read_text("utf-8")
