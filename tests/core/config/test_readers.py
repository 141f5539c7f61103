"""Readers of single values: what they return, and that ``accepts`` says what they take."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from ilit.config.options import OPTIONS
from ilit.config.readers import Reader, choice, choices, counts, flag, one_or_more, real, share, text, whole
from ilit.config.tree import from_python
from ilit.errors import ConfigError

READ: dict[str, tuple[Reader[Any], Any, Any]] = {
    "text": (text, "a", "a"),
    "text in a list of one": (text, ["a"], "a"),
    "flag": (flag, False, False),
    "whole": (whole(1), 3, 3),
    "real": (real, 2, 2.0),
    "exponent": (real, "1e-2", 0.01),
    "share": (share(0, 1, "0.1"), 0.25, 0.25),
    "per cent": (share(0, 1, "0.1"), " 25 % ", 0.25),
    "greatest share": (share(0, 0.9, "0.1"), "90%", 0.9),
    "amounts": (counts, "10, 50", (10, 50)),
    "choice": (choice({"a": 1}), "a", 1),
    "choice by number": (choice({"7": 7}), 7, 7),
    "choices keep their order": (choices({"a": 1, "b": 2}), ["b", "a"], (2, 1)),
    "one or more": (one_or_more(whole(0)), 5, (5,)),
    "converted": (whole(0).then(str), 5, "5"),
}


@pytest.mark.parametrize(("reader", "given", "value"), READ.values(), ids=READ)
def test_a_value_is_read(reader: Reader[Any], given: Any, value: Any) -> None:
    """Each spelling gives its value."""
    assert reader(from_python(given)) == value


REFUSED: dict[str, tuple[Reader[Any], Any, str]] = {
    "blank text": (text, "  ", "'  ' is no text; put it in quotes"),
    "empty text": (text, "", "the text is empty"),
    "true as a number": (whole(0), True, "true is no whole number; give 0 or more"),
    "too much": (whole(0, 9), 10, "10 is out of range; give 0 to 9"),
    "a number of many digits": (whole(0, 9), 10**30, "100000000000000000000... is out of range; give 0 to 9"),
    "endless": (real, math.inf, "inf is out of range; give 0 or more"),
    "share at an open end": (
        share(0.5, 1, "0.9", above=True, below=True),
        0.5,
        "0.5 is out of range; give above 0.5 to below 1, such as 0.9",
    ),
    "share above": (share(0, 0.9, "0.1"), 0.91, "0.91 is out of range; give 0 to 0.9, such as 0.1"),
    "twice": (one_or_more(real), [1, 1.0], "1.0 is given twice; keep one"),
    "other word": (choices({"abc": 1, "xyz": 2}), ["abd"], "'abd' is unknown; choose abc or xyz; did you mean 'abc'?"),
}


@pytest.mark.parametrize(("reader", "given", "message"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_value_is_told_with_its_cure(reader: Reader[Any], given: Any, message: str) -> None:
    """In one line that begins with the place."""
    with pytest.raises(ConfigError) as caught:
        reader(from_python(given))
    assert str(caught.value) == f"Tuner(...): {message}"


TYPES: dict[str, Any] = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "object": dict,
    "array": list,
}


def allows(schema: Any, value: Any) -> bool:
    """Return whether a value is allowed by the keywords of JSON Schema that readers use."""
    if "anyOf" in schema:
        return any(allows(each, value) for each in schema["anyOf"])
    if "not" in schema:
        return not allows(schema["not"], value)
    if "enum" in schema:
        return any(value == each and type(value) is type(each) for each in schema["enum"])
    names = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", TYPES)
    if not any(isinstance(value, TYPES[name]) and isinstance(value, bool) <= (name == "boolean") for name in names):
        return False
    if isinstance(value, list):
        return len(value) >= schema["minItems"] and all(allows(schema["items"], item) for item in value)
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    return not isinstance(value, (int, float)) or (low <= value <= high and above < value < below)


NUMBERS = (-1, 0, 1, 7, 8, 2**32 - 1, 2**32, 0.0, 0.4, 0.5, 0.9, 0.91, 1.0, 1.5, True, False)
WORDS = (
    "cpu",
    "gpu",
    "never",
    "auto",
    "met",
    "sym",
    "int8",
    "bf16",
    "per_token",
    "serial",
    "ray",
    "kl",
    "none",
    "60%",
    "0.6",
    "7, 8",
)
LISTS = ([], [1], [0], [7, 8], [0.5], [True], ["kl", "mse"], ["kl", "x"], ["per_token"], ["7, 8"])


@pytest.mark.parametrize("option", OPTIONS.options, ids=lambda option: option.key)
def test_a_reader_takes_what_it_says_it_accepts(option: Any) -> None:
    """Types, bounds and words of ``accepts`` are the reader's own; a list is tried where it says there may be one."""
    accepts = option.reader.accepts
    lists = any("items" in each for each in accepts.get("anyOf", ()))
    values = (*NUMBERS, *WORDS, *(LISTS if lists else ()))

    def reads(value: Any) -> bool:
        try:
            option.reader(from_python(value))
        except ConfigError:
            return False
        return True

    assert {repr(value): reads(value) for value in values} == {repr(value): allows(accepts, value) for value in values}
