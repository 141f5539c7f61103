"""Tuned models on disk: written beside and renamed, read back, and compared bit by bit before anyone is given one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ilit.adapter import Adapter
from ilit.errors import ArtefactError, DataError
from ilit.outputs import identical
from ilit.plugins import registry
from ilit.run import write_beside

RECIPE = "recipe.json"
COMPARED_ROWS = 8


def keep(
    adapter: Adapter, lowered: Any, model: Any, folder: Path, example: Any, add_card: Callable[[Path], None]
) -> Any:
    """Write a lowered model to ``folder`` and return it as read back from there.

    Args:
        adapter: writes and reads.
        lowered: the INT8 model.
        model: the float model, from which an adapter may take the architecture.
        folder: ``best`` or ``closest`` of a run.
        example: a batch; both models are run on the first ``COMPARED_ROWS`` of it, where rows can be told apart.
        add_card: writes further files into the folder before it gets its name.

    Raises:
        ArtefactError: it cannot be written or read, or what is read back gives other outputs.
    """

    def write(beside: Path) -> None:
        adapter.save(lowered, beside)
        add_card(beside)

    write_beside(folder, write)
    read_back = adapter.load(folder, model=model)
    example = _few_rows(adapter, example)
    if not identical(adapter.outputs(lowered, example), adapter.outputs(read_back, example)):
        raise ArtefactError(
            f"{folder}: the model read back gives other outputs than the one written; report it to the authors of "
            f"adapter {adapter.name}"
        )
    return read_back


def _few_rows(adapter: Adapter, batch: Any) -> Any:
    """Return the first rows of a batch: two tensors that differ show on a few, and a pass over all takes its time."""
    regroup: Any = getattr(adapter, "regroup", None)
    row_shapes: Any = getattr(adapter, "row_shapes", None)
    if regroup is None or row_shapes is None:
        return batch
    try:
        rows = range(min(len(row_shapes(batch)), COMPARED_ROWS))
        return regroup([batch], [[(0, row) for row in rows]])[0]
    except DataError:
        return batch


def load(folder: str | Path, model: Any = None) -> Any:
    """Return a tuned model, ready to use, from ``best/`` or ``closest/`` of a run or wherever it was moved to.

    Args:
        folder: holds ``recipe.json`` and ``model.safetensors``.
        model: the float model it was tuned from; needed only where no installed plugin can build its architecture.

    Raises:
        ArtefactError: no tuned model is there, or it is damaged.
        PluginError: the adapter it needs is not installed.
    """
    folder = Path(folder)
    return registry().adapter(_adapter_name(folder))().load(folder, model=model)


def _adapter_name(folder: Path) -> str:
    file = folder / RECIPE
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["adapter"]
    except OSError as error:
        raise ArtefactError(
            f"{file}: cannot be read ({error.strerror}); give the folder of a tuned model, such as best/ of a run"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{file}: names no adapter, so it is damaged or not ilit's; tune again") from error
    if not isinstance(name, str):
        raise ArtefactError(f"{file}: names no adapter, so it is damaged or not ilit's; tune again")
    return name
