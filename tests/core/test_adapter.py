"""What an adapter can do beside its contract is told by protocols, each wholly or not at all."""

from __future__ import annotations

import pytest

import ilit
from ilit.adapter import ABILITIES, Adapter, DescribesAll, TimesOps
from ilit.plugins.validation import methods_of
from ilit.testing import FakeAdapter


@pytest.mark.parametrize("ability", ABILITIES)
def test_authors_of_adapters_have_every_ability_at_hand(ability: type) -> None:
    """Each is public, and is named in the contract's text."""
    assert getattr(ilit, ability.__name__) is ability
    assert ability.__name__ in ilit.__all__
    assert f"``{ability.__name__}``" in str(Adapter.__doc__)


@pytest.mark.parametrize("ability", ABILITIES)
def test_an_ability_is_told_by_its_methods(ability: type) -> None:
    """The fake adapter has all but timing, and a subclass gives one up by None."""
    gave_up = type("GaveUp", (FakeAdapter,), {methods_of(ability)[0]: None})
    assert isinstance(FakeAdapter(), ability) == (ability is not TimesOps)
    assert not isinstance(gave_up(), ability)
    assert isinstance(gave_up(), Adapter)
    assert isinstance(gave_up(), DescribesAll) == (ability is not DescribesAll)
