"""Cheap figures of a recipe on calibration data; no evaluation row is ever looked at.

``distance`` runs the whole model on the probe batches. What comes before the first op that a recipe changes gives the
float32 model's activations, so these are saved once and replayed. ``op_distances`` mostly runs no model at
all: each op is given the rows of its float32 input that calibration sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ilit.recipe import Recipe
from ilit_pytorch.lowering.lower import lower
from ilit_pytorch.lowering.op import build_op, input_quantizer, lowered_bias, round_weight
from ilit_pytorch.lowering.replay import Replay, pays, record
from ilit_pytorch.lowering.session import LoweringSession
from ilit_pytorch.model.batch import call, flat_predictions
from ilit_pytorch.model.clone import leave_fast_path, structural_clone
from ilit_pytorch.model.padding import padding_of
from ilit_pytorch.model.weights import output_first
from ilit_pytorch.modules.torch_quantized import quantize

LEAST_ROW = 1e-3  # of the mean row's squared deviation


def distance(session: LoweringSession, recipe: Recipe) -> float:
    """Return the squared distance of the recipe's predictions to float32's, as a share of the variance of those.

    The squared mean of the absolute differences times pi / 2: for normal differences that is their mean square, and a
    few rows far out, of which some dozen rows hold one or none by chance, count for less. 0 where all are equal;
    ``inf`` where a prediction is not finite.
    """
    lowered = lower(session, recipe)
    replay = _replay(session, recipe)
    replay.apply_to(lowered, recipe)
    outputs = []
    with torch.no_grad():
        for number, inputs in enumerate(session.calibration.probe_batches):
            replay.batch = number
            padding = padding_of(session.model, inputs)
            outputs.append(flat_predictions(call(lowered, inputs), padding.predictions_without))
    found, expected = np.concatenate(outputs), np.concatenate(session.calibration.probe_outputs)
    if not np.isfinite(found).all():
        return math.inf
    if not len(found):
        return 0.0
    apart = float(np.abs(found - expected).mean()) ** 2 * math.pi / 2
    variance = float(expected.var())
    if apart == 0.0:
        return 0.0
    return apart / variance if variance > 0.0 else math.inf


def _replay(session: LoweringSession, recipe: Recipe) -> Replay:
    """Return the float model's saved block outputs, recorded for the first recipe that can use some of them."""
    if session.cache.replay is None:
        if not pays(session.model, session.structure, recipe):
            return Replay()
        batches = session.calibration.probe_batches
        session.cache.replay = record(session.model, session.structure, batches)
    return session.cache.replay


def op_distances(session: LoweringSession, recipe: Recipe) -> dict[str, float]:
    """Return each INT8 op's squared output error, divided row by row by that row's own squared deviation, on average.

    Row by row, since rows may differ a hundredfold in size (BERT's first tokens and separators) and what follows,
    a LayerNorm mostly, looks at each row by itself.

    A Linear is given the sampled rows of its input, an embedding the indices. Only where there are other
    INT8 ops one pass of the float model is run, in which their INT8 forms are given their float32 input as well.
    """
    errors = {name: Error() for name in recipe.quantized_ops}
    others = {}
    with torch.no_grad():
        for name, error in errors.items():
            both = _linear_outputs(session, name, recipe) or _rows_looked_up(session, name, recipe)
            if both is None:
                others[name] = error
            else:
                error.update(*both)
    if others:
        _run_beside(session, recipe, others)
    return {name: error.mean() for name, error in errors.items()}


Both = tuple[torch.Tensor, torch.Tensor]
"""The float32 output and the INT8 output of the same input."""


def _linear_outputs(session: LoweringSession, name: str, recipe: Recipe) -> Both | None:
    """Return both outputs of a Linear on the sampled rows of its input, (rows, out) each; None for other ops.

    The sums are those of the INT8 kernel but for float32's rounding, without packing a weight that may never be run.
    """
    site = session.structure.sites[name]
    channels = session.calibration.channels(recipe.calibration, session.structure.input_of(name))
    if site.kind != "linear" or site.island >= 0 or channels is None or not channels.filled:
        return None
    op, rows = session.float_op(name), channels.sample
    rounded = round_weight(session, name, recipe)
    codes, scale, zero_point = input_quantizer(session, name, recipe)(rows)
    values = (codes.float() - zero_point) * scale  # (rows, in)
    weight = rounded.codes.float().mul_(rounded.scale[:, None])  # (out, in)
    found = torch.nn.functional.linear(values, weight, lowered_bias(op, rounded, recipe))
    expected = torch.nn.functional.linear(rows, output_first(op), op.bias)
    return (expected.relu_(), found.relu_()) if site.relu else (expected, found)


def _rows_looked_up(session: LoweringSession, name: str, recipe: Recipe) -> Both | None:
    """Return the float32 and the dequantized rows that an embedding looked up, (indices, width); None for other ops."""
    seen = session.calibration.seen.get(recipe.calibration)
    if seen is None or name not in seen.indices:
        return None
    expected = torch.nn.functional.embedding(seen.indices[name], session.float_op(name).weight)
    int8 = build_op(session, name, recipe)
    return expected, int8(seen.indices[name])


def _run_beside(session: LoweringSession, recipe: Recipe, errors: dict[str, Error]) -> None:
    """Fill ``errors`` in one pass of the float model over the probe batches."""
    clone = structural_clone(session.model)
    leave_fast_path(clone)
    for name, error in errors.items():
        compare = _compare(_float_to_float(session, name, recipe), error, _folded(session, name))
        clone.get_submodule(name).register_forward_hook(compare, with_kwargs=True, prepend=True)
    with torch.no_grad():
        for inputs in session.calibration.probe_batches:
            call(clone, inputs)


@dataclass
class Error:
    """Running mean of one op's relative output error, row by row."""

    total: float = 0.0
    rows: int = 0

    def update(self, expected: torch.Tensor, found: torch.Tensor) -> None:
        """Take the float32 and the INT8 output of the same input, (rows, ...) or (rows, tokens, features)."""
        if not expected.numel():
            return  # no row of this batch was sent to the op
        shape = (-1, expected.shape[-1]) if expected.ndim == 3 else (expected.shape[0], -1)
        wanted, error = expected.reshape(shape), (found - expected).reshape(shape)
        own = (wanted - wanted.mean()).square().sum(dim=1)  # (rows,)
        # A row that hardly differs from the mean would count for nothing but its own smallness.
        size = own.clamp_min(LEAST_ROW * float(own.mean()))
        ratios = error.square().sum(dim=1) / size  # (rows,); 0 / 0 where nothing varies and nothing is wrong
        self.total += float(torch.where(error.eq(0).all(dim=1), 0.0, ratios).sum())
        self.rows += len(wanted)

    def mean(self) -> float:
        """Return the mean over all rows, ``inf`` where an output is not finite, 0 where no row reached the op."""
        return self.total / max(1, self.rows) if math.isfinite(self.total) else math.inf


def _compare(
    int8: Callable[..., torch.Tensor], error: Error, folded: Callable[..., torch.Tensor] | None
) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, args: Any, kwargs: Any, output: torch.Tensor) -> None:
        error.update(output if folded is None else folded(*args, **kwargs), int8(*args, **kwargs))

    return hook


def _folded(session: LoweringSession, name: str) -> Callable[..., torch.Tensor] | None:
    """Return in float32 what an op with a fold computes in INT8; None for others."""
    fold = session.structure.folds.get(name)
    if fold is None:
        return None
    op = session.float_op(name)
    return (lambda input: op(input).relu_()) if fold.relu else op  # noqa: A006 - named as torch names it


def _float_to_float(session: LoweringSession, name: str, recipe: Recipe) -> Callable[..., torch.Tensor]:
    """Return the op's INT8 form as a function of float tensors; in an island its input is quantized first."""
    site, config = session.structure.sites[name], recipe.ops[name]
    int8 = build_op(session, name, recipe)
    if site.island < 0 or config.approach != "static" or config.activation is None:
        return int8
    spec = config.activation
    params = session.params(recipe.calibration, f"{name}:in", spec)
    return lambda input: int8(quantize(input, params)).dequantize()  # noqa: A006 - named as torch names it
