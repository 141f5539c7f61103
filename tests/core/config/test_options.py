"""The table of ilit's own options, checked against ``Config``."""

from __future__ import annotations

from dataclasses import fields
from functools import reduce

import pytest

from ilit.config import Config, read_config
from ilit.config.options import OPTIONS


def test_every_field_is_filled_by_an_option() -> None:
    """Nothing of a configuration is out of its file's reach but where it came from."""
    filled = {path.partition(".")[0] for option in OPTIONS.options for path in option.fills}
    assert filled == {field.name for field in fields(Config)} - {"source"}


@pytest.mark.parametrize("option", OPTIONS.options, ids=lambda option: option.key)
def test_every_option_fills_fields_that_are_there_and_is_explained(option) -> None:
    """A path that leads nowhere would fail only when its key is given."""
    for path in option.fills:
        reduce(getattr, path.split("."), Config())
    assert option.help
    assert option.page


def test_keys_are_unique_and_no_older_name_is_a_present_one() -> None:
    """Each name means one option."""
    names = [name for option in OPTIONS.options for name in (option.key, *option.older)]
    assert len(names) == len(set(names))


def test_no_key_is_a_section_of_others() -> None:
    """Its value would be read as keys, or its keys as a value."""
    assert [key for key in OPTIONS.by_key if OPTIONS.is_section(key)] == []


def test_whole_fields_are_filled_before_parts_of_them() -> None:
    """Else the tolerance would undo the direction, which both are of the criterion."""
    paths = [path for option in OPTIONS.options for path in option.fills]
    late = [(part, whole) for at, part in enumerate(paths) for whole in paths[at + 1 :] if part.startswith(f"{whole}.")]
    assert late == []
    said = {"higher_is_better": False, "relative": 0.5}
    assert not read_config(tuning={"accuracy_criterion": said}).criterion.higher_is_better


def test_the_keys_that_exclude_each_other_are_the_two_amounts_and_the_two_tolerances() -> None:
    """And no other keys exclude each other."""
    pairs = {frozenset({key, *others}) for key, others in OPTIONS.exclusive.items() if others}
    assert pairs == {
        frozenset({"calibration.samples", "calibration.iterations"}),
        frozenset({"tuning.accuracy_criterion.relative", "tuning.accuracy_criterion.absolute"}),
    }
