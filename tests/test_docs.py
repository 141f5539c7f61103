"""The index, the glossary and CONTRIBUTING: nothing is missing, and what they tell to run is what runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
GLOSSARY = DOCS / "reference" / "glossary.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PROJECTS = [ROOT / "ilit_core", *(ROOT / "plugins" / f"ilit_{name}" for name in ("pytorch", "strategies", "bert"))]
PAGES = [ROOT / "README.md", CONTRIBUTING, *sorted(DOCS.rglob("*.md"))]
TERMS = (
    "op", "recipe", "trial", "probe", "baseline", "criterion", "target", "objection", "objective", "holdout",
    "Pareto front", "calibration", "observer", "scale", "zero point", "per-channel", "fold", "stub", "island",
    "smoothing", "saturation", "evidence", "bound", "verdict", "comparison", "saved", "cached", "lower",
    "search space", "artefact",
)  # fmt: skip


def text(page: Path) -> str:
    """Return a page."""
    return page.read_text(encoding="utf-8")


# --- The index and the links -----------------------------------------------------------------------------------------


def test_every_page_is_in_the_index_once() -> None:
    """So that nobody has to look into folders."""
    linked = re.findall(r"\]\(([^)]+\.md)\)", text(INDEX))
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if page != INDEX]
    assert sorted(linked) == sorted(pages)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/index.md"])
def test_the_readme_leads_there(page: str) -> None:
    """README stays short, and links what leads further."""
    assert f"]({page})" in text(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_headings_lead_to_one(page: Path) -> None:
    """A link with ``#`` names a heading of the page it leads to."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text(page)):
        headings = re.findall(r"^#+ (.*)$", text(page.parent / target if target else page), re.MULTILINE)
        slugs = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
        assert anchor in slugs, f"{target}#{anchor}"


# --- The glossary ----------------------------------------------------------------------------------------------------


def glossary() -> list[tuple[list[str], str]]:
    """Return the terms of each row, and its meaning."""
    rows = re.findall(r"^\| (?!term|---)(.*?) \| (.*?) \|", text(GLOSSARY), re.MULTILINE)
    return [(terms.split(", "), meaning) for terms, meaning in rows]


def test_the_glossary_has_the_words_of_the_field() -> None:
    """Each once."""
    terms = [term for row, _ in glossary() for term in row]
    assert set(TERMS) <= set(terms)
    assert len(set(terms)) == len(terms)


def test_meanings_are_sentences() -> None:
    """They begin with a capital letter or a name of the code, and end with a full stop."""
    assert [terms for terms, meaning in glossary() if not re.fullmatch(r"[A-Z`].*\.", meaning)] == []


# --- CONTRIBUTING ----------------------------------------------------------------------------------------------------


def commands(page: Path) -> list[str]:
    """Return the lines of a page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", text(page), re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def sessions() -> set[str]:
    """Return the commands that run a session of the noxfile."""
    functions = [node for node in ast.parse(text(ROOT / "noxfile.py")).body if isinstance(node, ast.FunctionDef)]
    return {f"nox -s {node.name}" for node in functions if "nox.session" in map(ast.unparse, node.decorator_list)}


def test_contributors_run_what_runs_elsewhere() -> None:
    """Each command is one of README's, of ``.ci/run``, a session of nox, or writes a page that a test compares."""
    ci = text(ROOT / ".ci" / "run")
    checks = re.findall(r'"(.+)"', ci[ci.index("checks=(") :].partition("\n)")[0])
    installs = [line.replace(" --quiet", "") for line in ci.splitlines() if line.startswith("pip install")]
    pages = {f"python docs/{script.name}" for script in DOCS.glob("*.py")} | {
        "python tests/strategies/record_conversations.py"
    }
    known = {*commands(ROOT / "README.md"), *checks, *installs, *sessions(), *pages}

    assert [command for command in commands(CONTRIBUTING) if command not in known] == []
    assert {*checks, *pages} <= set(commands(CONTRIBUTING))


def test_the_distributions_share_one_version() -> None:
    """Which they pin each other to, and which the changelog has, below what is not released yet."""
    shared = set(re.findall(r'^version = "(.+)"$', text(ROOT / "ilit_core" / "pyproject.toml"), re.MULTILINE))
    for project in PROJECTS:
        toml = text(project / "pyproject.toml")
        assert set(re.findall(r'^version = "(.+)"$', toml, re.MULTILINE)) == shared
        assert set(re.findall(r'"ilit-\w+==(.+?)"', toml)) <= shared
    released = re.findall(r"^## \[(.+?)\]", text(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert released[:2] == ["Unreleased", *shared]
