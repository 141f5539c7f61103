"""Fidelity of the float model that everything is compared with: it is the user's own, and answers alike each time.

Checked once, after calibration and before anything is scored, in a few passes over a few rows of a calibration batch.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any

from ilit.adapter import Adapter, ChecksSavable, FindsFirstDifference, RegroupsRows, RunsOwnModel
from ilit.errors import IlitError, ModelError, one_line, warn
from ilit.evaluation.outputs import ROUNDING, Comparison, apart, compared, off

SAMPLE_ROWS = 8
_log = logging.getLogger(__name__)
_ABSENT = object()


@dataclass(frozen=True)
class Sample:
    """The rows that models are run on to be compared bit by bit.

    Attributes:
        batch: a few rows of a calibration batch; the whole of it where these cannot run alone.
        whole: the calibration batch.
        repeats: the float model answers the same each time it is run on them.
    """

    batch: Any
    whole: Any
    repeats: bool = True


def check_float_model(adapter: Adapter, model: Any, float_model: Any, example: Any) -> Sample:
    """Return the sample that models will be compared on, once the float model has proved to be the user's.

    Warns where outputs do not repeat, or hold parts that cannot be compared.

    Args:
        adapter: the framework.
        model: the user's.
        float_model: the all-float recipe, lowered.
        example: a calibration batch.

    Raises:
        ModelError: the float model is another function than the user's, or holds what an artefact could not.
    """
    batch, answers = _answers(adapter, float_model, example)
    again, own = adapter.outputs(float_model, fresh(batch)), _own_answers(adapter, model, batch)
    found = compared(again, answers)
    if not found.same:
        _warn_of_randomness(model, apart(again, answers))
    elif own is not _ABSENT and not (other := compared(own, answers)).same:
        _refuse_another(adapter, model, float_model, batch, other, apart(own, answers))
    _warn_of_unknown(model, found)
    if isinstance(adapter, ChecksSavable):
        adapter.check_savable(model, float_model, fresh(batch), answers)
    return Sample(batch, example, found.same)


def sample_rows(adapter: Adapter, batch: Any) -> Any:
    """Return the first ``SAMPLE_ROWS`` rows of a batch, or the batch itself where its rows cannot be told apart.

    Models that differ show on a few rows, and a pass over all takes its time.
    """
    if not isinstance(adapter, RegroupsRows):
        return batch
    try:
        count = len(adapter.row_shapes(batch))
        return adapter.regroup([batch], [[(0, row) for row in range(SAMPLE_ROWS)]])[0] if count > SAMPLE_ROWS else batch
    except Exception as error:  # noqa: BLE001 - whatever it is, the whole batch is there
        _log.debug("a batch's rows cannot be told apart: %s", one_line(error))
        return batch


def fresh(batch: Any) -> Any:
    """Return a copy of a batch, since a model may write into its input; the batch itself where it has no copy."""
    try:
        return copy.deepcopy(batch)
    except Exception as error:  # noqa: BLE001 - as of an open file; hardly a model writes into one
        _log.debug("a batch cannot be copied: %s", one_line(error))
        return batch


def _answers(adapter: Adapter, float_model: Any, example: Any) -> tuple[Any, Any]:
    """Return a few rows and the float model's outputs on them; the whole batch where they cannot run alone."""
    few = sample_rows(adapter, example)
    if few is not example:
        try:
            return few, adapter.outputs(float_model, fresh(few))
        except Exception as error:  # noqa: BLE001 - as where a graph's other input still has all its nodes
            _log.info("models are compared on a whole batch, since a few of its rows raise %s", one_line(error))
    return example, adapter.outputs(float_model, fresh(example))


def _own_answers(adapter: Adapter, model: Any, batch: Any) -> Any:
    if not isinstance(adapter, RunsOwnModel):
        return _ABSENT
    try:
        return adapter.own_outputs(model, fresh(batch))
    except IlitError:
        raise
    except Exception as error:  # noqa: BLE001 - the model may be one that ilit's copy runs without, as a compiled one
        message = (
            f"{type(model).__name__}: raises {one_line(error)} where ilit's float32 copy of it answers, so the two "
            "are not compared; run it in eval mode on a batch of q_dataloader"
        )
        warn(message)
        return _ABSENT


def _refuse_another(
    adapter: Adapter, model: Any, float_model: Any, batch: Any, found: Comparison, distance: float
) -> None:
    """Refuse a float model that is not the user's; where it is but for rounding, note it in the log."""
    if distance <= ROUNDING:
        _log.info("the float32 model is the given one but for rounding: %.1e of the outputs' spread", distance)
        return
    raise ModelError(
        f"{type(model).__name__}: ilit's float32 copy of it answers otherwise, {off(distance)} ({found.differs})"
        f"{_first_module(adapter, model, float_model, batch)}; state that is neither parameter nor buffer, or that "
        "modules share, is another in a copy, so register it as a buffer or hand it on as input and output"
    )


def _first_module(adapter: Adapter, model: Any, float_model: Any, batch: Any) -> str:
    if not isinstance(adapter, FindsFirstDifference):
        return ""
    try:
        path = adapter.first_difference(model, float_model, fresh(batch))
    except Exception as error:  # noqa: BLE001 - it is part of an error message, which must not be lost to it
        _log.info("the first module that differs is not known: %s", one_line(error), exc_info=True)
        path = ""
    return f", first in '{path}'" if path else ""


def _warn_of_randomness(model: Any, distance: float) -> None:
    message = (
        f"{type(model).__name__}: its outputs differ from call to call on the same rows, {off(distance)}: it is random "
        "(dropout left on, sampling) or changes itself, so scores waver and nothing can be compared bit by bit, the "
        "saved model included; make it deterministic in eval mode"
    )
    warn(message)


def _warn_of_unknown(model: Any, found: Comparison) -> None:
    if not found.unknown:
        return
    first, more = found.unknown[0], len(found.unknown) - 1
    others = f" and {more} more" if more else ""
    rest = f"only its {found.compared} other parts are" if found.compared else "nor is anything else of it"
    message = (
        f"{type(model).__name__}: its {first}{others} cannot be compared, {rest} when the saved model is read back; "
        "answer with tensors, numbers or text, in tuples, dicts or dataclasses"
    )
    warn(message)
