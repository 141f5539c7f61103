"""Today's configurations resolve to the texts recorded before: a run folder's name holds their digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from ilit.config import read_config
from ilit.resolved import resolved_yaml

CONFIGS = Path(__file__).parents[2] / "data" / "configs"
GIVEN = sorted(file for file in CONFIGS.glob("*.yaml") if not file.name.endswith(".resolved.yaml"))


@pytest.mark.parametrize("file", GIVEN, ids=lambda file: file.stem)
def test_the_resolved_text_stays_as_it_was_recorded(file: Path) -> None:
    """Byte for byte, with the present and the older names of keys."""
    expected = file.with_suffix(".resolved.yaml").read_text(encoding="utf-8")

    assert resolved_yaml(read_config(file)) == expected
    assert resolved_yaml(read_config(file.with_suffix(".resolved.yaml"))) == expected
