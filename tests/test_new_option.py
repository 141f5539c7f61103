"""A new option is one row of the table, and a field of ``Config`` beside it: all else follows."""

from __future__ import annotations

import runpy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ilit.cli.check import sentences
from ilit.cli.init import template
from ilit.config import Config, resolved_yaml
from ilit.config.options import OPTIONS
from ilit.config.readers import whole
from ilit.config.schema import Option
from ilit.config.source import read_by
from ilit.errors import ConfigError

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Patient(Config):
    """A configuration with one field more."""

    patience: int = 3


ROW = Option(
    "tuning.patience",
    whole(1),
    ("patience",),
    older=("tuning.exit_policy.patience",),
    help="trials without a gain before the search ends",
    page="search",
    template="patience: 3  # trials without a gain before the search ends",
    sentences=lambda config: {"patience": f"ends after {config.patience} trials without a gain"},
)
TABLE = replace(OPTIONS, holder=Patient, options=(*OPTIONS.options, ROW))


def test_it_is_read_and_has_its_default() -> None:
    """By its present name and its older one."""
    assert read_by(TABLE, {}, {}).patience == 3
    assert read_by(TABLE, {"tuning": {"patience": 5}}, {}).patience == 5
    assert read_by(TABLE, {"tuning": {"exit_policy": {"patience": 5}}}, {}) == Patient(patience=5)
    assert read_by(TABLE, {"tuning": {"patience": 5}}, {"tuning": {"patience": 7}}).patience == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patience": 0}, "Tuner(...): tuning.patience: 0 is out of range; give 1 or more"),
        ({"patienc": 1}, "Tuner(...): tuning.patienc: unknown key; did you mean 'patience'?"),
    ],
)
def test_its_mistakes_are_told(given: dict[str, int], message: str) -> None:
    """As those of any key."""
    with pytest.raises(ConfigError) as caught:
        read_by(TABLE, {"tuning": given}, {})
    assert str(caught.value) == message


def test_the_resolved_file_has_it_in_its_section() -> None:
    """And nothing else in it changes."""
    assert resolved_yaml(Patient(), TABLE) == resolved_yaml(Config()).replace(
        "  random_seed: 9527\n", "  random_seed: 9527\n  patience: 3\n"
    )


def test_ilit_init_writes_it() -> None:
    """In its section, with its comment in the column of the others."""
    line = "  patience: 3                     # trials without a gain before the search ends"
    assert set(template(TABLE).splitlines()) - set(template().splitlines()) == {line}


def test_ilit_check_tells_it() -> None:
    """Beside what it says of the others."""
    told = sentences(Patient(patience=4), TABLE)
    assert told == {**sentences(Config()), "patience": "ends after 4 trials without a gain"}


def test_the_reference_page_has_it() -> None:
    """A row of the table it names, and one for its older name."""
    script = runpy.run_path(str(ROOT / "docs" / "config_reference.py"))
    text = script["PAGE"].read_text(encoding="utf-8")
    assert set(script["page"](text, TABLE).splitlines()) - set(text.splitlines()) == {
        "| `tuning.patience` | trials without a gain before the search ends | 3 |",
        "| `tuning.exit_policy.patience` | `tuning.patience` |",
    }
