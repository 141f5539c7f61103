"""``ilit.testing``: its public names, and pytest only where a suite is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ilit import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Each name imports."""
    assert getattr(testing, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'FakeModle'"):
        testing.FakeModle  # noqa: B018 - looking it up is the test


def test_the_fakes_need_no_pytest() -> None:
    """The fake framework can be used where pytest is not installed."""
    code = "import sys; from ilit.testing import FakeAdapter, fake_plugins; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "False"
