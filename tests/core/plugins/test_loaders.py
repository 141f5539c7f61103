"""Loaders: only ``iter`` is called, what cannot serve is refused, plugins may wrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ilit import wrap_dataloader
from ilit.errors import DataError, PluginError
from ilit.plugins.loaders import first_batch, gather, wrap_by_hook
from ilit.plugins.registry import Registry
from ilit.testing import fake_plugins


class Bare:
    """An object with nothing but ``__iter__``, on which all else raises."""

    def __init__(self, *batches: Any) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)

    def __len__(self) -> int:
        raise TypeError("no length")

    def __bool__(self) -> bool:
        raise TypeError("no truth")


class Raising:
    def __iter__(self) -> Iterator[Any]:
        raise OSError("the disk is gone")


@pytest.mark.parametrize("batch", [(1, 2), [1, 2], ({"x": 1}, None)], ids=["tuple", "list", "dict input"])
def test_the_first_batch_is_returned(batch: Any) -> None:
    """A pair of any two is a batch, and a loader needs nothing but ``iter``."""
    assert first_batch(Bare(batch, "never looked at"), "q_dataloader") == batch


@pytest.mark.parametrize(
    ("loader", "text"),
    [
        pytest.param(3, "a int cannot be iterated; give a list or a loader", id="no iterable"),
        pytest.param((b for b in [(1, 2)]), "a generator can be iterated only once.*give a list", id="generator"),
        pytest.param(iter([(1, 2)]), "a list_iterator can be iterated only once", id="iterator"),
        pytest.param([], "yields no batch; check its data", id="empty"),
        pytest.param(Raising(), "iterating it raised OSError: the disk is gone", id="raises"),
        pytest.param([1], r"yields a int, not \(input, label\) pairs", id="no pair"),
        pytest.param([(1, 2, 3)], r"yields a tuple of 3, not \(input, label\) pairs; put all inputs into", id="three"),
        pytest.param([{"x": 1, "y": 2}], "yields a dict of 2, not", id="dict of two"),
        pytest.param(["ab"], "yields a str, not", id="text of two"),
    ],
)
def test_what_cannot_serve_is_refused(loader: Any, text: str) -> None:
    """Each mistake is one line: which loader, what is wrong with it, what to do."""
    with pytest.raises(DataError, match=rf"^eval_dataloader: {text}") as caught:
        first_batch(loader, "eval_dataloader")
    assert len(str(caught.value).splitlines()) == 1


def test_both_loaders_are_checked() -> None:
    """Evaluation data are looked at before any work is done, and an ``eval_func`` needs none."""
    with pytest.raises(DataError, match="eval_dataloader: yields no batch"):
        gather(None, [(1, 2)], [], fake_plugins())
    data = gather(None, Bare((1, 2)), None, fake_plugins())
    assert data.example == (1, 2)
    assert data.evaluation is None


@pytest.fixture
def wrapping(plugin: Callable[..., Any]) -> Callable[[Callable[[Any, Any], Any]], Registry]:
    """Return a function that makes a registry with one plugin that wraps loaders as the function does."""

    def make(wrap: Callable[[Any, Any], Any]) -> Registry:
        def ilit_wrap_dataloader(loader: Any, model: Any) -> Any:
            return wrap(loader, model)

        return fake_plugins(wrapper=plugin(ilit_wrap_dataloader=ilit_wrap_dataloader))

    return make


def test_a_plugin_wraps_both_loaders(wrapping: Any) -> None:
    """``ilit_wrap_dataloader`` is asked once a loader, and what it returns is used."""
    asked: list[Any] = []

    def wrap(loader: Any, model: Any) -> Any:
        asked.append((loader, model))
        return [("wrapped", loader)]

    data = gather("model", "q", "e", wrapping(wrap))
    assert asked == [("q", "model"), ("e", "model")]
    assert (data.calibration, data.evaluation) == ([("wrapped", "q")], [("wrapped", "e")])


def test_a_loader_no_plugin_knows_stays(wrapping: Any) -> None:
    """Without an answer the loader is used as it is, and is not asked for its truth."""
    loader = Bare((1, 2))
    assert wrap_by_hook(loader, None, wrapping(lambda loader, model: None)) is loader


def test_a_wrapper_that_raises_is_named(wrapping: Any) -> None:
    """A plugin's mistake is said with the hook."""

    def fail(loader: Any, model: Any) -> Any:
        raise KeyError("labels")

    with pytest.raises(PluginError, match="hook ilit_wrap_dataloader: a plugin raised KeyError: 'labels'"):
        wrap_by_hook([], None, wrapping(fail))


def test_a_wrapper_can_be_asked_for_by_name(installed: Callable[..., Registry], plugin: Callable[..., Any]) -> None:
    """``ilit.wrap_dataloader`` finds a wrapper by name, and without a name asks the hook."""

    class Twice:
        name = "twice"

        def __call__(self, loader: Any, model: Any) -> Any:
            return [*loader, *loader]

    installed(
        mine=plugin(ilit_dataloaders=lambda: [Twice()], ilit_wrap_dataloader=lambda loader, model: "by hook"),
    )
    assert wrap_dataloader([1], None, name="twice") == [1, 1]
    assert wrap_dataloader([1], None) == "by hook"
    with pytest.raises(PluginError, match=r"no dataloader 'twic'.*did you mean 'twice'"):
        wrap_dataloader([1], None, name="twic")
