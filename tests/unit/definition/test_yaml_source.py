"""YAML in: right data, right lines, and every limit met with a sentence instead of memory or time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import RejectInput
from penstock.definition import limits, load_yaml
from penstock.definition.yaml_source import YamlSource


def problems_of(text: bytes | str) -> list[str]:
    """What a text is refused for."""
    with pytest.raises(RejectInput) as caught:
        load_yaml(text)
    return [str(problem) for problem in caught.value.problems]


def test_keys_are_text_and_values_follow_yaml_1_2() -> None:
    source = load_yaml(
        "on: push\n3.10: no\ntrue: 12:30\nday: 2020-01-01\nhex: 0x1F\noctal: 0o17\nzeros: 017\n"
    )
    assert source.data == {
        "on": "push", "3.10": "no", "true": "12:30", "day": "2020-01-01", "hex": 31, "octal": 15, "zeros": 17,
    }  # fmt: skip
    assert source.max_jobs == 1_000


def test_json_text_is_yaml() -> None:
    assert load_yaml('{"a": [1, 2.5, true, null, "x\\u0041"],\n\t"b": {}}').data == {
        "a": [1, 2.5, True, None, "xA"],
        "b": {},
    }


@pytest.mark.parametrize("text", ["\ufeffa: 1", "a: 1\r\n", "---\na: 1\n...\n# end\n", "a: 1\n# end"])
def test_harmless_frames_around_the_document(text: str) -> None:
    assert load_yaml(text).data == {"a": 1}
    assert load_yaml(text.encode()).data == {"a": 1}


def test_positions_of_keys_values_items_and_text_within_them() -> None:
    source = load_yaml("jobs:\n  größe:\n    needs: [a,  b]\n    run: |\n      one\n      two ${{ x }}\n")
    assert source.position(()) == (1, 1)
    assert source.position(("jobs", "größe"), key=True) == (2, 3)
    assert source.position(("jobs", "größe"), key=False) == (3, 5)
    assert source.position(("jobs", "größe", "needs", 1)) == (3, 17)
    assert source.position(("jobs", "größe", "run")) == (4, 10)
    assert source.position(("jobs", "größe", "run"), find="${{") == (6, 11)
    assert source.position(("jobs", "größe", "run"), find="absent") == (4, 10)
    assert source.position(("jobs", "größe", "missing", 3)) == (3, 5), "the nearest parent"


def test_positions_count_characters_and_every_kind_of_line_break() -> None:
    source = load_yaml("a: |\r\n  x\r\n  😀 ${{\r\nb: 1\r\n")
    assert source.position(("a",), find="${{") == (3, 5)
    assert source.position(("b",), key=True) == (4, 1)


def test_the_written_text_of_numbers_is_kept() -> None:
    source = load_yaml("a: 3.10\nb: &x 1e3\nc: *x\nd: [0x10, TRUE]\n")
    assert source.written(("a",), 3.1) == "3.10"
    assert source.written(("b",), 1000.0) == "1e3"
    assert source.written(("c",), 1000.0) == "1e3"
    assert [source.written(("d", at), None) for at in (0, 1)] == ["0x10", "TRUE"]


def test_aliases_repeat_data_and_stand_where_they_are_written() -> None:
    source = load_yaml("a: &x {k: [1]}\nb: *x\nc: &s text\nd: *s\n")
    assert source.data["b"] == {"k": [1]}
    assert source.data["d"] == "text"
    assert source.position(("b",)) == (2, 4)
    assert source.position(("b", "k", 0)) == (1, 12), "what is inside stands where the anchor is"


def test_what_can_be_passed_over_is_kept_for_check() -> None:
    source = load_yaml(
        "a: 1\na: 2\nif: !cancelled()\nb: !!python/object:os.system x\n<<: {c: 1}\nd: [!!set {}]\n"
    )
    assert source.data == {"a": 1, "if": "!cancelled()", "b": "x", "d": [{}]}
    assert [(p.line, p.column, p.path) for p in source.problems] == [
        (2, 1, "a"), (3, 5, "if"), (4, 4, "b"), (5, 1, '["<<"]'), (6, 5, "d[0]"),
    ]  # fmt: skip
    assert source.problems[0].hint == "it is already there in line 1; keep one of them"
    assert source.problems[1].hint == 'if this is text, put it in quotes: "!cancelled()"'
    assert "!!python/object:os.system" in source.problems[2].message
    assert load_yaml('"<<": 1').data == {"<<": 1}, "in quotes it is a key like any other"


def test_core_tags_are_taken() -> None:
    source = load_yaml("a: !!str 3.10\nb: !!int '7'\nc: !!map {}\nd: !!seq []\ne: ! 12\nf: !!float 3\n")
    assert source.data == {"a": "3.10", "b": 7, "c": {}, "d": [], "e": "12", "f": 3}
    assert not source.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("# only this", "the file is empty"),
        ("---\n", "a definition is an object, this is nothing"),
        ("[1]", "line 1, column 1: a definition is an object, this is a list"),
        ("text", "a definition is an object, this is the text"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a definition is one YAML document"),
        ("a: 1\n...\n%TAG ! x\n---\nb: 1", "line 3, column 1: YAML directives are not allowed"),
        ("%YAML 1.1\n---\na: 1", "line 1, column 1: YAML directives are not allowed"),
        (b"a: \xff", "line 1, column 4: this is not UTF-8: byte 0xff"),
        ("a: ü\nb: ü".encode() + b"\x80", "line 2, column 5: this is not UTF-8"),
        ("a: 1".encode("utf-16"), "this is not UTF-8"),
        ("a: \x00", "line 1, column 4: the character U+0000 is not allowed"),
        ("a: b\x1b", "line 1, column 5: the character U+001B is not allowed"),
        ("a: \ud800", "line 1, column 4: the character U+D800 is not allowed"),
        ('a: "\\ud800"', "line 1, column 7: this is not YAML"),
        ("a:\n\tb: 1", "indent with blanks, not tabs"),
        ("a: b: c", "quote text that contains ': '"),
        ("a: [1", "close the list with ]"),
        ("a: {b: 1", "close the object with }"),
        ("a: 'x", "a quote or bracket is not closed"),
        ("a: @x", "quote text that starts with @"),
        ("? [a]\n: b", "line 1, column 3: a key is text"),
        ("x: &a 1\n*a : 2", "line 2, column 1: a key is text"),
        ("a: *b", "line 1, column 4: there is no `&b` above"),
        ("a: &x [*x]", "line 1, column 8: `*x` stands inside what it names"),
    ],
)
def test_what_makes_the_rest_meaningless(text: bytes | str, problem: str) -> None:
    assert problem in problems_of(text)[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"x" * (limits.MAX_YAML_BYTES + 1), "524,288 is the limit"),
        ("é" * (limits.MAX_YAML_BYTES // 2 + 1), "the file has 524,290 bytes; 524,288 is the limit"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ("{a: " * 50_000, "nested deeper than 32 levels"),
        ("- " * 100_000, "nested deeper than 32 levels"),
        ("".join(" " * level + "a:\n" for level in range(600)), "nested deeper than 32 levels"),
        ("- a\n" * 60_000, "more than 50,000 values"),
        ("a: [" + "b," * 60_000 + "]", "more than 50,000 values"),
        ("---\n" * 100_000, "one YAML document"),
        ("%TAG !a! x\n" * 40_000 + "---\na: 1", "directives are not allowed"),
        ("a: &a [" + "x," * 100 + "]\nb: [" + "*a," * 100 + "]", "aliases repeat more than 10,000 values"),
    ],
)
def test_limits(text: bytes | str, problem: str) -> None:
    found = problems_of(text)
    assert len(found) == 1
    assert problem in found[0]


def test_limits_are_met_exactly() -> None:
    load_yaml("a: " + "[" * 31 + "]" * 31)
    assert "32 levels" in problems_of("a: " + "[" * 32 + "]" * 32)[0]
    load_yaml("a: [" + "1," * 49_997 + "]")
    assert "50,000 values" in problems_of("a: [" + "1," * 49_998 + "]")[0]
    load_yaml("a: &a [" + "x," * 99 + "]\nb: [" + "*a," * 100 + "]")
    assert "10,000 values" in problems_of("a: &a [" + "x," * 99 + "]\nb: [" + "*a," * 101 + "]")[0]
    load_yaml("a: " + "x" * (limits.MAX_YAML_BYTES - 3))
    assert "the limit" in problems_of("a: " + "x" * (limits.MAX_YAML_BYTES - 2))[0]


def test_a_bomb_of_aliases_is_counted_as_if_it_were_written_out() -> None:
    levels = [f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 20)]
    assert "aliases repeat" in problems_of("a0: &a0 [x,x,x]\n" + "\n".join(levels))[0]


def test_text_is_not_repeated_without_bound() -> None:
    lines = ", ".join(["*a"] * 41)
    assert (
        "aliases repeat more than 4,194,304 characters"
        in problems_of(f"a: &a {'x' * 102_400}\nb: [{lines}]")[0]
    )
    levels = [f"a{at + 1}: &a{at + 1} {{ {'k' * 1_000}: *a{at}, b: *a{at} }}" for at in range(11)]
    assert "aliases repeat" in problems_of(f"a0: &a0 {'x' * 1_000}\n" + "\n".join(levels))[0]


def test_depth_counts_through_aliases() -> None:
    deep = "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20
    assert "nested deeper than 32 levels by this alias" in problems_of(deep)[0]


def test_a_flood_of_passable_problems_is_cut() -> None:
    source = load_yaml("a: 1\n" * 1_000)
    assert len(source.problems) == limits.MAX_PROBLEMS


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(max_size=200), st.text("a:-? []{}&*!|>'\"#%@,\n\t ", max_size=60)
    )
)
def test_anything_is_read_or_refused(text: bytes | str) -> None:
    found: object = None
    try:
        found = load_yaml(text)
    except RejectInput as rejected:
        found = rejected
        assert rejected.problems  # noqa: PT017 - either end is good
    assert isinstance(found, RejectInput | YamlSource)
