"""Reads YAML 1.2 into plain data that knows its lines, within limits and without recursion.

The tree is built straight from libyaml's events on a stack of our own, so that every limit is met before
the memory is spent: size first, then text, then depth and nodes event by event. Aliases share the data that
they repeat, and count as if they did not.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol, cast

import yaml
from yaml.cyaml import CBaseLoader
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from penstock.core.errors import Problem, RejectInput
from penstock.definition import scalars
from penstock.definition.limits import (
    MAX_ALIAS_BYTES,
    MAX_ALIAS_NODES,
    MAX_DEPTH,
    MAX_JOBS_YAML,
    MAX_NODES,
    MAX_PROBLEMS,
)
from penstock.definition.source import Path, Position, Source, describe, quote, show_path
from penstock.definition.yaml_text import decode, position_of, syntax_problem

_REST: Final = re.compile(r"(?:\.\.\.)?(?:\s|#[^\r\n]*)*")
"""What may follow the document."""
_PLAIN_TAGS: Final = (None, "!")


class Mark(Protocol):
    """Where an event starts: characters from the start, line and column, all from 0."""

    index: int
    line: int
    column: int


class _Node:
    """A value, where it stands, and where its parts stand."""

    __slots__ = ("characters", "end", "height", "mark", "nodes", "places", "text", "value")

    def __init__(self, value: Any, mark: Mark, places: dict[str | int, _Place] | None = None) -> None:
        self.value = value
        self.mark = mark
        self.places = places
        """Of a list or an object."""
        self.end = -1
        """Of a scalar written here: the character after its last."""
        self.text: str | None = None
        """As written, of a plain scalar."""
        self.nodes = 1
        self.characters = len(value) if isinstance(value, str) else 0
        self.height = 0


_Place = tuple[Mark, _Node]
"""The mark of a key (in a list: of the item) and its node."""


_NO_PLACES: Final[dict[str | int, _Place]] = {}


class _Frame:
    """A list or object that is being filled."""

    __slots__ = ("anchor", "dropped", "is_object", "key", "key_mark", "node", "places")

    def __init__(self, value: Any, mark: Mark, anchor: str | None) -> None:
        self.places: dict[str | int, _Place] = {}
        self.node = _Node(value, mark, self.places)
        self.anchor = anchor
        self.is_object = type(value) is dict
        self.key: str | None = None
        """The key whose value comes next; None where a key comes next, and in lists."""
        self.key_mark = mark
        self.dropped = False
        """Whether the value of this key is left out, because the key itself was reported."""

    @property
    def wants_key(self) -> bool:
        return self.is_object and self.key is None


class YamlSource(Source):
    """A definition that knows its lines."""

    __slots__ = ("_root", "_text")

    def __init__(self, root: _Node, text: str, problems: list[Problem]) -> None:
        super().__init__(root.value, MAX_JOBS_YAML, problems)
        self._root = root
        self._text = text

    def position(self, path: Path, *, key: bool = False, find: str = "") -> Position:
        """See `Source.position`; a path that leads nowhere has the position of its nearest parent."""
        key_mark, node = self._place(path)
        mark = key_mark if key else node.mark
        found = self._text.find(find, mark.index, node.end) if find and node.end >= 0 else -1
        if found < 0:
            return mark.line + 1, mark.column + 1
        return position_of(self._text, found, mark.index, mark.line + 1, mark.column + 1)

    def written(self, path: Path, value: object) -> str:
        """See `Source.written`."""
        text = self._place(path)[1].text
        return super().written(path, value) if text is None else text

    def _place(self, path: Path) -> _Place:
        place = (self._root.mark, self._root)
        for part in path:
            inner = (place[1].places or _NO_PLACES).get(part)
            if inner is None:
                break
            place = inner
        return place


def load_yaml(text: bytes | str) -> Source:
    """Read one YAML document; JSON text is YAML too.

    Raises:
        RejectInput: over a limit, not UTF-8, control characters, not YAML, more than one document, or not an
            object. What can be passed over (a duplicate key, a foreign tag) is kept for `check` to report.
    """
    decoded = decode(text)
    builder = _Builder(decoded)
    parser = CBaseLoader(decoded.encode())
    try:
        while (event := parser.get_event()) is not None and not isinstance(event, DocumentEndEvent):
            builder.take(event)
    except yaml.YAMLError as error:
        raise RejectInput(syntax_problem(error)) from None
    finally:
        parser.dispose()
    return builder.finish(event)


class _Builder:
    """Builds the tree from events."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Node | None] = {}
        """None while what the anchor names is still being read."""
        self._problems: list[Problem] = []
        self._root: _Node | None = None
        self._nodes = 0
        self._alias_nodes = 0
        self._alias_characters = 0
        self._takers: dict[type[Event], Any] = {
            ScalarEvent: self._scalar,
            MappingStartEvent: self._open,
            SequenceStartEvent: self._open,
            MappingEndEvent: self._close,
            SequenceEndEvent: self._close,
            AliasEvent: self._alias,
        }

    def take(self, event: Event) -> None:
        """Add one event. Raises `RejectInput` over a limit and for what makes the rest meaningless."""
        taker = self._takers.get(type(event))
        if taker is not None:
            taker(event)

    def finish(self, end: Event | None) -> Source:
        """The source; `end` is the event that ended the document."""
        root = self._root
        if root is None or end is None:
            raise RejectInput(Problem("the file is empty", hint="a pipeline needs at least `jobs`"))
        rest = _REST.match(self._text, cast(Mark, end.start_mark).index)
        if rest is not None and rest.end() < len(self._text):
            line, column = position_of(self._text, rest.end())
            message = "a definition is one YAML document; something else starts here"
            raise RejectInput(Problem(message, "", line, column, "keep one document a file"))
        if not isinstance(root.value, dict):
            message = f"a definition is an object, this is {describe(root.value)}"
            raise RejectInput(_problem_at(root.mark, message, "start with `jobs:`"))
        return YamlSource(root, self._text, self._problems)

    def _scalar(self, event: ScalarEvent) -> None:
        mark = cast(Mark, event.start_mark)
        if "\0" in event.value:
            self._report(mark, "U+0000 is not allowed in text", "remove the \\0 escape")
        node = _Node(event.value, mark)
        node.end = cast(Mark, event.end_mark).index
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if self._stack and self._stack[-1].wants_key:
            self._key(self._stack[-1], event, mark)
            return
        if event.tag is not None:
            try:
                node.value = scalars.resolve_tagged(event.value, event.tag)
            except ValueError:
                hint = "remove it"
                if event.tag.startswith("!"):
                    # Most likely no tag was meant: `if: !cancelled()`.
                    node.value = event.tag + event.value
                    hint = f"if this is text, put it in quotes: {quote(node.value)}"
                self._report(mark, f"the tag {_show_tag(event.tag)} is not supported", hint)
        elif event.implicit[0]:
            node.value = scalars.resolve(event.value)
            node.text = event.value
        self._attach(node, counted=1)

    def _key(self, frame: _Frame, event: ScalarEvent, mark: Mark) -> None:
        """Keys are text as written, so that `on`, `3.10` and `1` are what they look like."""
        self._count(mark, 1)
        if event.tag not in (*_PLAIN_TAGS, scalars.TAG_PREFIX + "str"):
            self._report(mark, f"the tag {_show_tag(event.tag)} is not supported on a key", "remove it")
        frame.key = event.value
        frame.key_mark = mark
        first = frame.places.get(event.value)
        frame.dropped = first is not None
        if first is not None:
            hint = f"it is already there in line {first[0].line + 1}; keep one of them"
            self._report(mark, f"the key {quote(event.value)} appears twice", hint)
        if event.value == "<<" and event.implicit[0]:
            frame.dropped = True
            hint = "write the keys out, or use `defaults`"
            self._report(mark, "merge keys (`<<`) are not supported", hint)

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        mark = cast(Mark, event.start_mark)
        self._refuse_as_key(mark)
        value: Any = {} if type(event) is MappingStartEvent else []
        kind = "map" if type(event) is MappingStartEvent else "seq"
        if event.tag not in (*_PLAIN_TAGS, scalars.TAG_PREFIX + kind):
            self._report(mark, f"the tag {_show_tag(event.tag)} is not supported", "remove it")
        if len(self._stack) >= MAX_DEPTH:
            raise RejectInput(_problem_at(mark, f"nested deeper than {MAX_DEPTH} levels"))
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(value, mark, event.anchor))

    def _close(self, _: MappingEndEvent | SequenceEndEvent) -> None:
        frame = self._stack.pop()
        if frame.anchor is not None:
            self._anchors[frame.anchor] = frame.node
        self._attach(frame.node, counted=1)

    def _alias(self, event: AliasEvent) -> None:
        mark = cast(Mark, event.start_mark)
        self._refuse_as_key(mark)
        name = str(event.anchor)
        node = self._anchors.get(name)
        if node is None:
            inside = name in self._anchors
            message = f"`*{name}` stands inside what it names" if inside else f"there is no `&{name}` above"
            raise RejectInput(
                _problem_at(mark, message, "write the value out; quote text that starts with *")
            )
        self._alias_nodes += node.nodes
        if self._alias_nodes > MAX_ALIAS_NODES:
            raise RejectInput(_problem_at(mark, f"aliases repeat more than {MAX_ALIAS_NODES:,} values"))
        self._alias_characters += node.characters
        if self._alias_characters > MAX_ALIAS_BYTES:
            message = f"aliases repeat more than {MAX_ALIAS_BYTES:,} characters"
            raise RejectInput(_problem_at(mark, message, "put large scripts into the repository"))
        if len(self._stack) + node.height > MAX_DEPTH:
            raise RejectInput(_problem_at(mark, f"nested deeper than {MAX_DEPTH} levels by this alias"))
        repeated = _Node(node.value, mark, node.places)
        repeated.text, repeated.nodes, repeated.height = node.text, node.nodes, node.height
        repeated.characters = node.characters
        self._attach(repeated, counted=node.nodes)

    def _refuse_as_key(self, mark: Mark) -> None:
        if self._stack and self._stack[-1].wants_key:
            hint = "write the key as plain or quoted text"
            raise RejectInput(_problem_at(mark, "a key is text, not a list, an object or an alias", hint))

    def _attach(self, node: _Node, *, counted: int) -> None:
        """Put a finished node where it belongs."""
        self._count(node.mark, counted)
        if not self._stack:
            self._root = node
            return
        frame = self._stack[-1]
        parent = frame.node
        parent.nodes += node.nodes
        parent.characters += node.characters
        parent.height = max(parent.height, node.height + 1)
        if frame.key is None:
            frame.places[len(parent.value)] = (node.mark, node)
            parent.value.append(node.value)
            return
        parent.nodes += 1
        parent.characters += len(frame.key)
        if not frame.dropped:
            frame.places[frame.key] = (frame.key_mark, node)
            parent.value[frame.key] = node.value
        frame.key = None

    def _count(self, mark: Mark, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise RejectInput(_problem_at(mark, f"more than {MAX_NODES:,} values"))

    def _report(self, mark: Mark, message: str, hint: str = "") -> None:
        """Note a problem that can be passed over."""
        if len(self._problems) >= MAX_PROBLEMS:
            return
        path: list[str | int] = []
        for frame in self._stack:
            if frame.key is not None:
                path.append(frame.key)
            elif not frame.is_object:
                path.append(len(frame.node.value))
        self._problems.append(_problem_at(mark, message, hint, tuple(path)))


def _show_tag(tag: str | None) -> str:
    return quote("!!" + tag.removeprefix(scalars.TAG_PREFIX) if tag and tag[0] != "!" else str(tag))


def _problem_at(mark: Mark, message: str, hint: str = "", path: Path = ()) -> Problem:
    return Problem(message, show_path(path), mark.line + 1, mark.column + 1, hint)
