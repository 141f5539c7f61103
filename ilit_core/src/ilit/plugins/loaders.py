"""The data loaders of a run, wrapped by plugins and checked; only ``iter()`` is ever called on any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ilit.errors import DataError, IlitError, PluginError, one_line
from ilit.plugins.registry import Registry, installed_plugins

_NOTHING = object()


@dataclass(frozen=True)
class Data:
    """The loaders of one run, wrapped and checked.

    Attributes:
        calibration: the loader of calibration rows.
        example: its first batch.
        evaluation: the loader of evaluation rows; None where an ``eval_func`` scores.
    """

    calibration: Any
    example: Any
    evaluation: Any = None


def gather(model: Any, q_dataloader: Any, eval_dataloader: Any, plugins: Registry) -> Data:
    """Wrap both loaders by the plugins and check each one's first batch.

    Raises:
        DataError: see ``first_batch``.
        PluginError: a wrapper failed.
    """
    calibration = wrap_by_hook(q_dataloader, model, plugins)
    example = first_batch(calibration, "q_dataloader")
    if eval_dataloader is None:
        return Data(calibration, example)
    evaluation = wrap_by_hook(eval_dataloader, model, plugins)
    first_batch(evaluation, "eval_dataloader")
    return Data(calibration, example, evaluation)


def wrap_dataloader(loader: Any, model: Any, name: str | None = None) -> Any:
    """Return ``loader`` wrapped so that its batches fit ``model``, as ``Tuner.tune`` does with every loader.

    Args:
        loader: any iterable that can be iterated again.
        model: the model its batches are for.
        name: a wrapper's name. Without one the first plugin that knows loader and model wraps it; where none does,
            the loader is returned unchanged.

    Raises:
        PluginError: no wrapper has that name, or a plugin failed.
    """
    plugins = installed_plugins()
    return plugins.dataloader(name)(loader, model) if name else wrap_by_hook(loader, model, plugins)


def wrap_by_hook(loader: Any, model: Any, plugins: Registry) -> Any:
    """Return the first plugin's wrapping of ``loader``, or the loader itself where no plugin wraps it.

    Raises:
        PluginError: a plugin raised.
    """
    try:
        wrapped = plugins.hook.ilit_wrap_dataloader(loader=loader, model=model)
    except IlitError:
        raise
    except Exception as error:
        raise PluginError(
            f"hook ilit_wrap_dataloader: a plugin raised {one_line(error)}; fix or uninstall it"
        ) from error
    return loader if wrapped is None else wrapped


def first_batch(loader: Any, place: str) -> Any:
    """Return the first ``(input, label)`` batch of ``loader``.

    Args:
        loader: what the user gave, wrapped by a plugin or not.
        place: the argument's name, for errors: ``q_dataloader`` or ``eval_dataloader``.

    Raises:
        DataError: not iterable, iterable only once, empty, or its batches are not pairs.
    """
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise DataError(f"{place}: a {type(loader).__name__} cannot be iterated; give a list or a loader")
    try:
        iterator = iter(loader)
        batch = _NOTHING if iterator is loader else next(iterator, _NOTHING)
    except IlitError:
        raise
    except Exception as error:
        raise DataError(f"{place}: iterating it raised {one_line(error)}; try next(iter({place}))") from error
    if iterator is loader:
        raise DataError(
            f"{place}: a {type(loader).__name__} can be iterated only once, and every evaluation needs it anew; "
            "give a list, a DataLoader, or an object whose __iter__ starts from the beginning"
        )
    if batch is _NOTHING:
        raise DataError(f"{place}: yields no batch; check its data and its filters")
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(
            f"{place}: yields {_shape(batch)}, not (input, label) pairs; put all inputs into one dict or tuple, "
            "then the label"
        )
    return batch


def _shape(batch: Any) -> str:
    kind = type(batch).__name__
    return f"a {kind} of {len(batch)}" if isinstance(batch, (tuple, list, dict)) else f"a {kind}"
