"""The tables of the configuration's reference page are those of the options."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from ilit.config.options import OPTIONS

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "config_reference.py"))
PAGE = SCRIPT["PAGE"].read_text(encoding="utf-8")


def test_the_page_is_as_the_table_of_options_makes_it() -> None:
    """After a change to the options, ``python docs/config_reference.py`` writes it anew."""
    assert SCRIPT["page"](PAGE) == PAGE


def test_what_is_between_the_markers_is_replaced_and_nothing_else() -> None:
    """A word changed in the text stays, one changed in a table does not."""
    spoiled = PAGE.replace("tuning.timeout", "tuning.tiemout").replace("# Configuration", "# All keys", 1)
    assert SCRIPT["page"](spoiled).replace("# All keys", "# Configuration", 1) == PAGE


def test_an_option_without_a_place_on_the_page_is_told() -> None:
    """It would be left out in silence."""
    lost = replace(OPTIONS.options[0], page="nowhere")
    with pytest.raises(ValueError, match="nowhere"):
        SCRIPT["page"](PAGE, replace(OPTIONS, options=(*OPTIONS.options, lost)))
