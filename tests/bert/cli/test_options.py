"""Promises of ``ilit_bert.cli.options``: the value of ``--labels`` is names, none of them empty."""

from __future__ import annotations

import pytest

from ilit.errors import ConfigError
from ilit_bert.cli.options import label_names


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, None), ("yes", ("yes",)), ("positive, negative", ("positive", "negative"))],
    ids=["not given", "one", "blanks around"],
)
def test_names_are_separated_by_commas(text, names):
    """Blanks around a name are not part of it, and no flag gives no names."""
    assert label_names(text) == names


@pytest.mark.parametrize("text", ["", "a,,b", "a, "])
def test_empty_names_are_refused(text):
    """A comma too many would shift the names that follow."""
    with pytest.raises(ConfigError, match=f"labels '{text}': a name is empty; separate the names by single commas"):
        label_names(text)
