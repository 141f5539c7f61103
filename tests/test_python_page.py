"""The page of public Python names is what the modules say."""

from __future__ import annotations

import importlib
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "python_reference.py"))
PAGE = SCRIPT["PAGE"].read_text(encoding="utf-8")
PUBLIC = SCRIPT["public_modules"]()


def test_the_page_is_as_the_modules_make_it() -> None:
    """After a change to an ``__all__``, ``python docs/python_reference.py`` writes it anew."""
    assert SCRIPT["page"](PAGE) == PAGE


def test_a_page_without_a_place_for_the_list_is_refused() -> None:
    """The list would be left out in silence."""
    with pytest.raises(ValueError, match="expected one place for the list, found 0"):
        SCRIPT["page"]("# Python names\n")


def test_every_module_at_the_top_is_public() -> None:
    """The top level is what users and plugin authors import."""
    top = {file.stem for file in (ROOT / "ilit_core" / "src" / "ilit").glob("*.py")} - {"__init__"}

    assert {f"ilit.{name}" for name in top} - set(PUBLIC) == set()


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there(module: str) -> None:
    """Each is importable, is told once, and does not begin with an underscore."""
    names = PUBLIC[module]

    assert len(set(names)) == len(names) > 0
    assert [name for name in names if name.startswith("_")] == []
    assert all(getattr(importlib.import_module(module), name) is not None for name in names)
