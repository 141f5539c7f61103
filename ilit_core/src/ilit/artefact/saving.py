"""Saving of a tuned model: written beside and renamed, read back, compared bit by bit; never lost where that fails."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ilit.adapter import Adapter, BlanksModel, ProfilesKernels
from ilit.errors import one_line
from ilit.evaluation.fidelity import Sample, fresh
from ilit.evaluation.outputs import ROUNDING, apart, compared
from ilit.recipe import Recipe
from ilit.report.card import write_card
from ilit.report.receipt import Receipt, slower_ops
from ilit.report.summary import summary_of_result, with_chosen
from ilit.result import TuneResult
from ilit.run.folder import BEST, CLOSEST, FRONT_MODELS, LOG, UNVERIFIED, write_beside
from ilit.run.records import Header, Probed
from ilit.search.context import Models

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


@dataclass(frozen=True)
class SavedModels:
    """The models of a run after saving.

    Attributes:
        chosen: the best or the closest one; None where nothing was evaluated.
        doubts: why a model is not proven, or which of its ops run no INT8 kernel, a line each.
    """

    chosen: Any = None
    doubts: tuple[str, ...] = ()


def save_models(result: TuneResult, models: Models, header: Header, probes: Iterable[Probed] = ()) -> SavedModels:
    """Save the model of the best or the closest recipe, and those of the other members of the front.

    Args:
        result: names the recipes and the run folder.
        models: lower recipes anew, since an ``eval_func`` may have changed the model it was given.
        header: for the model cards.
        probes: the search's, for the speed of single ops.

    Raises:
        LoweringError: the chosen recipe cannot be lowered a second time; of another recipe that is a doubt.
    """
    chosen = result.best or result.closest
    if chosen is None:
        return SavedModels()
    summary = summary_of_result(result)
    timed = partial(slower_ops, tuple(probes), result.trials)
    card = partial(write_card, header=header, summary=summary)
    job = _Saving(chosen.recipe, models, card, timed(chosen.recipe))
    saved = _save(job, result.folder / (BEST if result.met else CLOSEST))
    doubts = [saved.doubt]
    for number, recipe in ((record.number, record.recipe) for record in result.front if record.number != chosen.number):
        card = partial(write_card, header=header, summary=with_chosen(summary, number))
        job = _Saving(recipe, models, card, timed(recipe))
        doubts.append(_save_other(job, result.folder / FRONT_MODELS / f"{number:03d}"))
    return SavedModels(saved.model, tuple(filter(None, doubts)))


@dataclass(frozen=True)
class _Saving:
    """One model to save: its recipe, the card to write with its receipt, and the ops known to be slower in INT8."""

    recipe: Recipe
    models: Models
    card: Callable[..., None]
    slower: Mapping[str, float]


def _save(job: _Saving, folder: Path) -> SavedModel:
    models, lowered = job.models, job.models.lower(job.recipe)
    receipt = _receipt(models, lowered, job.slower)
    card = partial(job.card, receipt=receipt)
    saved = save_and_verify(models.adapter, lowered, models.model, folder, models.sample, card)
    if receipt is None or not receipt.doubt:
        return saved
    return replace(saved, doubt="; ".join(filter(None, [saved.doubt, f"{folder}: {receipt.doubt}"])))


def _receipt(models: Models, lowered: Any, slower: Mapping[str, float]) -> Receipt | None:
    """Return the receipt of a lowered model; None where the adapter cannot tell, or fails to."""
    adapter = models.adapter
    if not isinstance(adapter, ProfilesKernels):
        return None
    try:
        profile = adapter.profile_kernels(lowered, fresh(models.sample.whole))
        receipt = Receipt(profile, adapter.int8_kernels(lowered), slower)
    except Exception as error:  # noqa: BLE001 - the model must not be lost to a receipt
        _log.info("which kernels run is not known: %s", one_line(error), exc_info=True)
        return None
    _log.info("%s", receipt.sentence)
    return receipt


def _save_other(job: _Saving, folder: Path) -> str:
    """Save one more model; return the doubt about it, empty where all is well."""
    try:
        return _save(job, folder).doubt
    except Exception as error:  # noqa: BLE001 - the chosen model is there, and must not be lost to another
        doubt = f"{folder}: the model cannot be made again ({one_line(error)}); see {LOG}"
        _log.info("%s", doubt, exc_info=True)
        return doubt


def _skeleton(adapter: Adapter, model: Any) -> Any:
    """Return the architecture, no value in which is the model's own, so that what is read back is from the files."""
    return adapter.blank(model) if isinstance(adapter, BlanksModel) else model


def _fault(adapter: Adapter, lowered: Any, read_back: Any, sample: Sample, folder: Path) -> str:
    """Return the fault of the model read back; empty where there is none, or nothing can be known."""
    if not sample.repeats:
        _log.info("%s: saved without comparison, since the model's outputs differ from call to call", folder)
        return ""
    batch, wanted = _run(adapter, lowered, sample)
    found = compared(adapter.outputs(read_back, fresh(batch)), wanted)
    for leaf in found.unknown:
        _log.info("%s: saved without a comparison of %s", folder, leaf)
    if found.same:
        return ""
    answers = adapter.outputs(read_back, fresh(batch))
    if apart(answers, wanted) <= ROUNDING:
        _log.info("%s: reads back as the model written but for rounding", folder)
        return ""
    if not compared(adapter.outputs(lowered, fresh(batch)), wanted).same:
        _log.warning("%s: saved without comparison, since the INT8 model's outputs differ from call to call", folder)
        return ""
    return f"read back gives another {found.differs} than the one written"


def _run(adapter: Adapter, lowered: Any, sample: Sample) -> tuple[Any, Any]:
    """Return the rows that the lowered model was run on, a few or the whole batch, and its outputs."""
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
