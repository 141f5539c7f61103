"""``predictions/`` of a run folder: every complete evaluation's predictions, one to four bytes a row, never pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilit.errors import RunError, one_line

PREDICTIONS = "predictions"


def write_predictions(folder: Path, name: int | Literal["labels", "units"], values: NDArray[Any]) -> None:
    """Write one array of shape (units,) in the loader's order.

    ``000.npy`` are the float32 model's predictions, ``NNN.npy`` a trial's, ``labels.npy`` the labels. With rows held
    out all these are of the others, and ``units.npy`` has the loader's numbers of them.

    Raises:
        RunError: the disk does not take it.
    """
    place = folder / PREDICTIONS
    file = place / f"{name if isinstance(name, str) else f'{name:03d}'}.npy"
    try:
        place.mkdir(exist_ok=True)
        np.save(file, values, allow_pickle=False)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror}); free some space") from error


def read_predictions(folder: Path, number: int) -> NDArray[Any]:
    """Return the predictions of a trial, 0 for the float32 model, as ``write_predictions`` was given them.

    Raises:
        RunError: there is no such file, or it is damaged.
    """
    file = folder / PREDICTIONS / f"{number:03d}.npy"
    try:
        values: NDArray[Any] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(
            f"{file}: cannot be read ({one_line(error)}); the trial was pruned, failed, or the file damaged"
        ) from error
    return values
