"""``import ilit``: the public names, quick and without a framework."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import ilit


@pytest.mark.parametrize("name", ilit.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Each name of ``__all__`` can be had, and ``dir`` shows it."""
    assert getattr(ilit, name) is not None
    assert name in dir(ilit)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'ilit' has no attribute 'Tunner'"):
        ilit.Tunner  # noqa: B018 - looking it up is the test


@pytest.mark.parametrize(
    "statement", ["import ilit", "import ilit; ilit.Tuner({}); ilit.read_config", "import ilit.testing.fake"]
)
def test_no_framework_is_imported(statement: str) -> None:
    """Neither torch nor transformers nor what else is heavy is loaded, also where they are installed."""
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"torch", "transformers", "sklearn", "scipy", "pytest"}


def test_the_import_is_light() -> None:
    """What does the work is imported when first used."""
    code = "import json, sys, ilit; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert not set(json.loads(done.stdout)) & {"numpy", "pydantic", "rich", "typer", "yaml", "ilit.tuner"}
