"""Tuned models on disk: written beside and renamed, read back, and compared bit by bit; never lost where that fails."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilit.adapter import Adapter, BlanksModel
from ilit.errors import ArtefactError, one_line
from ilit.evaluation.fidelity import Sample, fresh
from ilit.evaluation.outputs import ROUNDING, apart, compared
from ilit.plugins.registry import installed_plugins
from ilit.run.folder import UNVERIFIED, write_beside

RECIPE = "recipe.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedModel:
    """A model after saving.

    Attributes:
        model: as read back from its folder; where that could not be proven, the one that was to be saved.
        doubt: why it is not proven, and what became of it, in one line; empty where all is well.
    """

    model: Any
    doubt: str = ""


def save_and_verify(
    adapter: Adapter, lowered: Any, model: Any, folder: Path, sample: Sample, add_card: Callable[[Path], None]
) -> SavedModel:
    """Write a lowered model to ``folder`` and return it as read back from there.

    A search may have taken hours, so nothing that goes wrong here loses the model: then the one in memory is returned.
    What reads back as another one gets a name of its own, ``best-unverified``, so that nobody takes it for proven.

    Args:
        adapter: writes and reads.
        lowered: the INT8 model.
        model: the float model, from which an adapter may take the architecture.
        folder: ``best`` or ``closest`` of a run.
        sample: what both models are run on.
        add_card: writes further files into the folder before it gets its name.
    """

    def write(beside: Path) -> None:
        adapter.save(lowered, beside)
        add_card(beside)

    try:
        write_beside(folder, write)
    except Exception as error:  # noqa: BLE001 - the model goes back to its owner instead
        _log.info("%s: cannot be saved", folder, exc_info=True)
        return SavedModel(lowered, f"{folder}: the model cannot be saved ({one_line(error)}); it is in memory alone")
    read_back = None
    try:
        read_back = adapter.load(folder, model=_skeleton(adapter, model))
        fault = _fault(adapter, lowered, read_back, sample, folder)
    except Exception as error:  # noqa: BLE001 - as above
        _log.info("%s: cannot be read back, or compared", folder, exc_info=True)
        how = "cannot be read back" if read_back is None else "cannot be compared with the one read back"
        fault = f"{how} ({one_line(error)})"
    if not fault:
        return SavedModel(read_back)
    return SavedModel(
        lowered,
        f"{folder}: the model {fault}; what was written is in {_set_aside(folder)}, and the model itself in memory; "
        f"report it to the authors of adapter {adapter.name}",
    )


def _skeleton(adapter: Adapter, model: Any) -> Any:
    """Return the architecture, no value in which is the model's own, so that what is read back is from the files."""
    return adapter.blank(model) if isinstance(adapter, BlanksModel) else model


def _fault(adapter: Adapter, lowered: Any, read_back: Any, sample: Sample, folder: Path) -> str:
    """Return what is wrong with the model read back; empty where nothing is, or nothing can be known."""
    if not sample.repeats:
        _log.info("%s: kept without comparison, since the model's outputs differ from call to call", folder)
        return ""
    batch, wanted = _run(adapter, lowered, sample)
    found = compared(adapter.outputs(read_back, fresh(batch)), wanted)
    for leaf in found.unknown:
        _log.info("%s: kept without a comparison of %s", folder, leaf)
    if found.same:
        return ""
    answers = adapter.outputs(read_back, fresh(batch))
    if apart(answers, wanted) <= ROUNDING:
        _log.info("%s: reads back as the model written but for rounding", folder)
        return ""
    if not compared(adapter.outputs(lowered, fresh(batch)), wanted).same:
        _log.warning("%s: kept without comparison, since the INT8 model's outputs differ from call to call", folder)
        return ""
    return f"read back gives another {found.differs} than the one written"


def _run(adapter: Adapter, lowered: Any, sample: Sample) -> tuple[Any, Any]:
    """Return what the lowered model was run on, a few rows or the whole batch, and its outputs."""
    if sample.batch is not sample.whole:
        try:
            return sample.batch, adapter.outputs(lowered, fresh(sample.batch))
        except Exception as error:  # noqa: BLE001 - the whole batch is there
            _log.info("the INT8 model does not run on a few rows alone: %s", one_line(error))
    return sample.whole, adapter.outputs(lowered, fresh(sample.whole))


def _set_aside(folder: Path) -> Path:
    """Give the folder its name for what is not proven; return where it is."""
    aside = folder.with_name(f"{folder.name}{UNVERIFIED}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        return folder.rename(aside)
    except OSError as error:
        _log.warning("%s: cannot be renamed to %s (%s)", folder, aside, error.strerror)
        return folder


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
    return installed_plugins().adapter(_adapter_name(folder))().load(folder, model=model)


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
