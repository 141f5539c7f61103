"""Hook specifications: what the markers are for, and which hooks end at the first answer."""

from __future__ import annotations

import pluggy
import pytest

from ilit import hookspecs
from ilit.hookspecs import hookimpl
from ilit.plugins.validation import GROUP, spec_names

FIRST = {"ilit_select_adapter", "ilit_wrap_dataloader"}


@pytest.mark.parametrize("name", sorted(spec_names(hookspecs)))
def test_a_hook_ends_at_the_first_answer_where_its_text_says_so(name: str) -> None:
    """Of all others every plugin's answer is taken; each says when it is called."""
    options = getattr(getattr(hookspecs, name), f"{GROUP}_spec")

    assert bool(options["firstresult"]) is (name in FIRST)
    assert ("first answer counts" in str(getattr(hookspecs, name).__doc__)) is (name in FIRST)


def test_an_implementation_may_take_fewer_arguments() -> None:
    """A plugin names what it needs, and no more."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)

    class Plugin:
        @hookimpl
        def ilit_wrap_dataloader(self, loader: object) -> object:
            return [loader]

    manager.register(Plugin())

    assert manager.hook.ilit_wrap_dataloader(loader=1, model=None) == [1]
