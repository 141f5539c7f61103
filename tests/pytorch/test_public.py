"""The names that other distributions may import."""

from __future__ import annotations

import pytest

import ilit_pytorch


@pytest.mark.parametrize("name", ilit_pytorch.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """It is imported when it is asked for, and is listed before."""
    assert name in dir(ilit_pytorch)
    assert getattr(ilit_pytorch, name).__name__ == name


def test_another_name_is_none_of_ours() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'Linear'"):
        _ = ilit_pytorch.Linear
