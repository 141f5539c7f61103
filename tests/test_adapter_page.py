"""The page on adapters: its adapter is lawful, and tunes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import ilit.adapter

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "write-an-adapter.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def shown() -> ModuleType:
    """Return the page as a module, all but its last block, which tunes; known by name, since its models are pickled."""
    module = sys.modules["adapter_page"] = ModuleType("adapter_page")
    for number, block in enumerate(BLOCKS[:-1], start=1):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), vars(module))  # noqa: S102 - our own page
    return module


MODULE = shown()
TestChainAdapter = MODULE.TestChainAdapter  # the contract suite, as the page subclasses it


def test_the_page_tunes() -> None:
    """The last block registers the adapter and tunes; the page's own assertions hold."""
    exec(compile(BLOCKS[-1], f"{PAGE.name}, last block", "exec"), vars(MODULE))  # noqa: S102 - our own page


def test_the_adapter_is_small() -> None:
    """What has to be read before the first run is less than 150 lines of code."""
    code = [line for block in BLOCKS[:3] for line in block.splitlines() if line.strip()]
    assert len(code) < 150


def test_the_page_names_every_ability() -> None:
    """And no other: the table's first column is what ``ilit.adapter`` has."""
    rows = re.findall(r"^\| (`[A-Z].*?`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(named) == sorted(ability.__name__ for ability in ilit.adapter.ABILITIES)
