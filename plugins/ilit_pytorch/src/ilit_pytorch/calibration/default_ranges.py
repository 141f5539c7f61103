"""Ranges for activations of which calibration saw nothing, or nothing but zeros: what is known of them is their weight.

A scale made of such statistics would turn whatever comes later into the end of a range as narrow as nothing. So these
activations are given a range in which values of a usual size have codes: wide enough that they are not cut off, narrow
enough that they are not all one code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from ilit_pytorch.model.clone import submodule
from ilit_pytorch.model.structure import Structure
from ilit_pytorch.model.weights import output_first
from ilit_pytorch.quantization.observers import ActivationStats
from ilit_pytorch.tracing.ops import inner_op

SPREADS = 4.0  # of a usual input lie on each side of 0
VANISHING = 1e-6  # of the usual range: what float32 loses beside anything of usual size


def unseen_ranges(
    model: torch.nn.Module, structure: Structure, stats: Mapping[str, ActivationStats]
) -> dict[str, float]:
    """Return the range, on each side of 0, of each activation that statistics say nothing of.

    Args:
        model: an eval clone of the float model after a forward, so that computed weights are those of now.
        structure: its structure.
        stats: activation -> what was seen of it.
    """
    readers: dict[str, list[str]] = {activation: [] for activation in stats}
    for name, site in structure.sites.items():
        if site.island < 0 and site.kind != "embedding":
            readers.setdefault(structure.input_of(name), []).append(name)
    found = {}
    for activation, names in readers.items():
        known = stats.get(activation)
        reach = 0.0 if known is None else max(-known.low, known.high)
        if reach < 1.0 and reach < VANISHING * (usual := usual_reach(model, names)):
            found[activation] = usual
    return found


def usual_reach(model: torch.nn.Module, readers: Iterable[str]) -> float:
    """Return the range, on each side of 0, of inputs that make the outputs of their readers about as wide as 1.

    A trained network's activations mostly are, as the usual ways to initialise and to normalise it want. An output's
    spread is its input's times the length of its row of the weight; so it is by the longest row.
    """
    weights = [output_first(inner_op(submodule(model, name))).detach() for name in readers]
    longest = max((float(weight.flatten(1).norm(dim=1).max()) for weight in weights), default=1.0)
    return SPREADS / longest if 1e-6 < longest < 1e6 else SPREADS
