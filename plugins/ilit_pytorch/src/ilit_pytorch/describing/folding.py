"""Whether what can be folded into convolutions leaves the answers as they are, found out before anything is searched.

The folded model is run in float: convolutions with folded weights, identities in place of BatchNorms and ReLUs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.ao.nn.intrinsic import ConvReLU1d, ConvReLU2d, ConvReLU3d

from ilit.errors import one_line
from ilit.evaluation import ROUNDING, apart
from ilit_pytorch.describing.replaceable import FloatForm
from ilit_pytorch.lowering.fold import folded
from ilit_pytorch.lowering.lower import folded_modules
from ilit_pytorch.model.batch import call, predictions
from ilit_pytorch.model.clone import leave_fast_path, structural_clone, submodule
from ilit_pytorch.model.structure import Fold, Structure
from ilit_pytorch.tracing.folds import find_folds

_log = logging.getLogger("ilit.pytorch")
_WITH_RELU: dict[str, Any] = {"conv1d": ConvReLU1d, "conv2d": ConvReLU2d, "conv3d": ConvReLU3d}


def with_folds(model: torch.nn.Module, structure: Structure, inputs: Any) -> Structure:
    """Return the structure with the folds by which the float model's answers change no more than float32 rounds.

    Args:
        model: the user's.
        structure: what its forward calls.
        inputs: of a forward, few rows best.
    """
    try:
        folds = find_folds(model, structure, inputs)
    except Exception as error:  # noqa: BLE001 - what watching a forward may disturb is no reason not to tune
        _log.info("no BatchNorm is folded, the forward cannot be watched: %s", one_line(error))
        return structure
    if not folds:
        return structure
    wanted = _answers(structural_clone(model), inputs)
    if _objection(model, structure, folds, inputs, wanted):
        reasons = {conv: _objection(model, structure, {conv: fold}, inputs, wanted) for conv, fold in folds.items()}
        for conv, reason in reasons.items():
            if reason:
                _log.info("%s is not folded into %s: %s", folds[conv].norm, conv, reason)
        folds = {conv: fold for conv, fold in folds.items() if not reasons[conv]}
    if folds:
        relus = sum(bool(fold.relu) for fold in folds.values())
        _log.info("%d BatchNorms and %d ReLUs are folded into the convolutions before", len(folds), relus)
    return replace(structure, folds=folds)


def _objection(
    model: torch.nn.Module, structure: Structure, folds: Mapping[str, Fold], inputs: Any, wanted: Any
) -> str:
    """Return the reason against making these folds together, an empty string where there is none."""
    new: dict[str, Any] = {}
    for conv, fold in folds.items():
        op = folded(submodule(model, conv), submodule(model, fold.norm))
        new[conv] = FloatForm(_WITH_RELU[structure.sites[conv].kind](op, torch.nn.ReLU()) if fold.relu else op)
        new.update(folded_modules(fold))
    try:
        found = _answers(structural_clone(model, new), inputs)
    except Exception as error:  # noqa: BLE001 - whatever the model's own code raises is the reason
        return f"with it folded the forward raises {one_line(error)}"
    distance = apart(found, wanted)
    return (
        ""
        if distance <= ROUNDING
        else f"folded, the float model answers differently, by {distance:.2g} of their spread"
    )


def _answers(clone: torch.nn.Module, inputs: Any) -> Any:
    leave_fast_path(clone)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a model may draw numbers of its own
        return predictions(call(clone, inputs))
