from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable

import pytest

from ilit.errors import ConfigError, IlitError, IlitWarning, did_you_mean, one_line, warn


def function_of(module: str, source: str) -> Callable[..., None]:
    """Return the function ``f`` that ``source`` defines, as one of a module of that name."""
    names = {"__name__": module, "warn": warn, "contextlib": contextlib}
    exec(compile(source, f"{module}.py", "exec"), names)  # noqa: S102 - our own text
    return names["f"]  # type: ignore[return-value] # exec tells mypy nothing


def warned(call: Callable[[], None]) -> warnings.WarningMessage:
    """Return the one warning a call gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    (only,) = caught
    return only


@pytest.mark.parametrize("depth", [0, 1, 7])
def test_a_warning_names_the_users_line_whatever_stands_between(depth: int) -> None:
    """However many of our functions lie on the way, the file named is the first that is none of ours."""
    ours = function_of("ilit.deep.inside", "def f(n):\n    f(n - 1) if n else warn('look')")

    found = warned(lambda: ours(depth))

    assert (found.filename, found.category, str(found.message)) == (__file__, IlitWarning, "look")


def test_plugins_and_context_managers_are_passed_over() -> None:
    """A plugin's package is ours by its name, and the standard library's context managers are nobody's line."""
    plugin = function_of(
        "ilit_other.part",
        "@contextlib.contextmanager\ndef g():\n    warn('look')\n    yield\ndef f():\n    with g(): pass",
    )

    assert warned(plugin).filename == __file__


def test_a_package_that_only_begins_alike_is_the_users() -> None:
    """``ilitist`` is none of ours."""
    assert warned(function_of("ilitist", "def f():\n    warn('look')")).filename == "ilitist.py"


def test_one_line_keeps_our_text_and_names_other_classes() -> None:
    """An error of ours is its text; another one is its class and the first line."""
    assert one_line(ConfigError("conf.yaml:7: no; yes")) == "conf.yaml:7: no; yes"
    assert one_line(ValueError("first\nsecond")) == "ValueError: first"
    assert one_line(KeyError()) == "KeyError"


def test_did_you_mean_names_the_nearest_or_nothing() -> None:
    """A near name is asked after, a far one is not."""
    assert did_you_mean("bsic", ["basic", "random"]) == "; did you mean 'basic'?"
    assert did_you_mean("zzz", ["basic"]) == ""


def test_every_error_of_the_users_is_one_tree() -> None:
    """Catching ``IlitError`` catches all."""
    import ilit

    named = [getattr(ilit, name) for name in ilit.__all__ if name.endswith("Error")]
    assert len(named) > 8
    assert all(issubclass(error, IlitError) for error in named)
