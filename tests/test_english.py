"""The English of docstrings and names: a verb or the field's noun first, and the field's words rather than ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "ilit_core" / "src" / "ilit", *sorted(ROOT.glob("plugins/*/src/*")), ROOT / "examples"]
FILES = [file for source in SOURCES for file in sorted(source.rglob("*.py"))]
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

# Word -> the field's or the glossary's.
PRIVATE = {
    "bench": "context",
    "course": "evaluation order",
    "courses": "evaluation orders",
    "deaf": "ignores the model",
    "dearer": "more accurate",
    "judge": "scorer",
    "judges": "scorers",
    "kept": "retained, held out, saved or cached, as is meant",
    "leaky": "escaping",
    "strayed": "changed rows",
    "workbench": "run context",
    "wreckers": "individually fatal ops",
    "yardstick": "scorer",
}
# What is a verb or an idiom, and so no private word.
ALLOWED = re.compile(r"\bof course\b|\b(it|that|which|who) judges\b|\bto judge\b|\bjudge (it|them|by)\b", re.IGNORECASE)
NOUN_FIRST = re.compile(r"(Return (what|how|which|why|who|where|when)\b|What\b)")


def definitions(tree: ast.AST) -> Iterator[Definition]:
    """Yield every function and class of a module."""
    yield from (node for node in ast.walk(tree) if isinstance(node, Definition))


def beginnings(text: str) -> list[str]:
    """Return the docstrings of functions that begin with a question in place of a noun."""
    docs = [
        ast.get_docstring(node) or ""
        for node in definitions(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return [doc.splitlines()[0] for doc in docs if NOUN_FIRST.match(doc)]


def private_words(text: str) -> list[str]:
    """Return the private words in a program's names and docstrings, with what to say for them."""
    tree = ast.parse(text)
    docs = [ast.get_docstring(node) or "" for node in (tree, *definitions(tree))]
    words = [word for doc in docs for word in re.findall(r"[a-z]+", ALLOWED.sub("", doc).lower())]
    words += [part.lower() for name in names(tree) for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    return sorted({f"{word}: {PRIVATE[word]}" for word in words if word in PRIVATE})


def names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a program gives or uses."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name


def named(file: Path) -> str:
    """Return a test's id for a file."""
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=named)
def test_docstrings_begin_with_a_verb_or_a_noun(file: Path) -> None:
    """A function returns "the median trial time", not "how long a trial takes"; "whether" is fine for predicates."""
    assert beginnings(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", FILES, ids=named)
def test_no_private_word_where_the_field_has_one(file: Path) -> None:
    """Names and docstrings use the words of the glossary."""
    assert private_words(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "begins", "words"),
    [
        ('def f():\n    """Return what is left."""', 1, 0),
        ('def f():\n    """What is left."""', 1, 0),
        ('class C:\n    """What is left."""', 0, 0),
        ('def f():\n    """Return whether any is left, of course."""', 0, 0),
        ('def f():\n    """Return the judge."""', 0, 1),
        ("class Yardstick: ...", 0, 1),
        ("rows_kept = is_deaf", 0, 2),
    ],
)
def test_the_rules_find_what_breaks_them(text: str, begins: int, words: int) -> None:
    """Each rule sees its own mistakes and lets the rest be."""
    assert (len(beginnings(text)), len(private_words(text))) == (begins, words)
