"""Every error a user can cause, as one tree.

IlitError
├── ConfigError        the configuration file or keyword arguments
├── PluginError        a plugin that is missing, misspelt or clashes with another
├── DataError          a data loader, a data file or its rows
├── ModelError         a model that cannot be read, described or quantized
├── EvaluationError    an ``eval_func``, a metric or a measurement that gives no usable number
├── LoweringError      one recipe that the engine rejects; its trial is ``failed``, the search goes on
├── RunError           a run folder: journal, lock, damaged record
├── MissedError        no recipe was accepted, and ``on_miss="raise"`` asked to hear of it this way
└── ArtefactError      a saved model that cannot be written or read back
    UnsupportedError   also a ConfigError: known and planned, but not built yet

Beside the tree, ``IlitWarning`` is the category of every warning of ours; ``warn`` gives one.

An ``IlitError`` is the user's to cure, so its text is one line: where, what, cure. The command line prints
that line and exits with 2; any other exception is a bug of ours and shows its traceback.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable
from types import FrameType

__all__ = [
    "ArtefactError",
    "ConfigError",
    "DataError",
    "EvaluationError",
    "IlitError",
    "IlitWarning",
    "LoweringError",
    "MissedError",
    "ModelError",
    "PluginError",
    "RunError",
    "UnsupportedError",
    "did_you_mean",
    "one_line",
    "warn",
]


class IlitError(Exception):
    """A mistake the user can cure. ``str(error)`` is one line: where, what, cure."""


class ConfigError(IlitError):
    """A key, value or file of the configuration is wrong."""


class UnsupportedError(ConfigError):
    """A documented key whose part is not built yet; refused so that it is never ignored in silence."""


class PluginError(IlitError):
    """A plugin is missing, failed to load, misspelt a hook or shares its name with another."""


class DataError(IlitError):
    """A loader or data file yields nothing, the wrong keys, bad labels or bad columns."""


class ModelError(IlitError):
    """The model or checkpoint cannot be read, described, or has nothing to quantize."""


class EvaluationError(IlitError):
    """An ``eval_func`` or metric raised, or it or a measurement gave something that is not a finite number."""


class LoweringError(IlitError):
    """The engine rejects one recipe. The search records the trial as ``failed`` and goes on."""


class RunError(IlitError):
    """A run folder is missing, locked by another process, or damaged."""


class MissedError(IlitError):
    """No recipe was accepted; raised only where ``on_miss="raise"`` was given. ``Tuner.result`` tells all."""


class ArtefactError(IlitError):
    """A tuned model cannot be written, or what is on disk cannot be read back."""


class IlitWarning(UserWarning):
    """Something the user should look at, though the run goes on."""


def warn(message: str) -> None:
    """Warn the user, at the first line outside ilit that led here: hers, whatever stands between.

    Args:
        message: one line: where, what, cure.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way to the frames, as ``inspect`` has it
    level = 2
    while frame is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, IlitWarning, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame is of ilit, of a distribution whose package is named after it, or a context manager's."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in ("ilit", "contextlib") or package.startswith("ilit_")


def one_line(error: BaseException) -> str:
    """Return an error in one line: its text where it is ours, else its class and the first line of its text."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    if isinstance(error, IlitError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of ``known``, or an empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
