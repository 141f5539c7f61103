"""The records of a journal."""

from __future__ import annotations

from typing import Any

import pytest

from ilit.adapter import Cpu
from ilit.run.records import Header, Journal, Probed
from ilit.strategy import DistanceOutcome, OpErrorOutcome, OpSpeedOutcome


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(DistanceOutcome(0.5), "distance"), (OpErrorOutcome({}), "op_errors"), (OpSpeedOutcome({}), "op_speeds")],
    ids=["distance", "errors", "speeds"],
)
def test_the_kind_of_a_probe_follows_from_its_outcome(outcome: Any, kind: str) -> None:
    """Also where the recipe failed and there is no figure."""
    assert Probed(1, "d" * 64, outcome).kind == kind


@pytest.mark.parametrize("name", ["versions", "digests", "left_in_float"])
def test_a_header_does_not_change_with_what_it_was_made_of(name: str) -> None:
    """Its mappings are copies, and read-only."""
    given: dict[str, dict[str, str]] = {"versions": {}, "digests": {}, "left_in_float": {}}
    cpu = Cpu("", "", "A", 1)
    values = ("", "fake", cpu, 1, "f1", "", 0.9, 0.8, True, "basic", "performance", 9, 1, 2)
    names = [field for field in Header.__dataclass_fields__ if field not in given]
    header = Header(**dict(zip(names, values, strict=True)), **given)  # type: ignore[arg-type]  # by name, as listed
    given[name]["late"] = "too late"

    assert getattr(header, name) == {}
    with pytest.raises(TypeError, match="does not support item assignment"):
        getattr(header, name)["late"] = ""
    assert Journal(header).entries == ()
