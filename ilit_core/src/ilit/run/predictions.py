"""``predictions/`` of a run folder: every complete evaluation's predictions, as plain numpy files, never pickled.

Predictions and labels are of the metric's own type, for ilit's metrics the smallest that holds them: one to four bytes
a unit, mostly. ``units.npy`` is int64.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ilit.errors import RunError, one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREDICTIONS = "predictions"
Name = int | Literal["labels", "units"]


def write_predictions(folder: Path, name: Name, values: NDArray[Any]) -> None:
    """Write one array of shape (units,) in the loader's order.

    ``000.npy`` are the float32 model's predictions, ``NNN.npy`` a trial's, ``labels.npy`` the labels. With rows held
    out all these are of the others, and ``units.npy`` has the loader's numbers of them.

    Raises:
        RunError: the disk does not take it.
    """
    import numpy as np  # late, so that the command line starts quickly

    file = _file(folder, name)
    try:
        file.parent.mkdir(exist_ok=True)
        np.save(file, values, allow_pickle=False)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror}); free some space") from error


def read_predictions(folder: str | Path, name: Name) -> NDArray[Any]:
    """Return one array of a run folder, (units,), in the loader's order.

    Args:
        folder: the run folder.
        name: a trial's number, 0 for the float32 model; ``labels``; or, with rows held out, ``units`` for the loader's
            numbers of the units that all the others are of.

    Raises:
        RunError: there is no such file, or it is damaged.
    """
    import numpy as np

    file = _file(Path(folder), name)
    try:
        values: NDArray[Any] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(
            f"{file}: cannot be read ({one_line(error)}); the trial was pruned, failed, or the file damaged"
        ) from error
    return values


def _file(folder: Path, name: Name) -> Path:
    return folder / PREDICTIONS / f"{name if isinstance(name, str) else f'{name:03d}'}.npy"
