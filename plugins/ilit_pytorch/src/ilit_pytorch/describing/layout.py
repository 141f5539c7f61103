"""Whether convolutions may answer in ``channels_last``, in which oneDNN computes, whatever format they are given.

The values are the same in any format, but a forward may ask for one: ``view`` raises where memory lies otherwise. So
the model is run in float with all its convolutions answering in ``channels_last``, before anything is searched.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch

from ilit.errors import one_line
from ilit.evaluation import ROUNDING, apart
from ilit_pytorch.describing.replaceable import FloatForm
from ilit_pytorch.model.batch import call, predictions, tensors_in
from ilit_pytorch.model.clone import leave_fast_path, structural_clone, submodule
from ilit_pytorch.model.structure import Structure
from ilit_pytorch.module_parts.output import channels_last

_log = logging.getLogger("ilit.pytorch")
_KINDS = ("conv2d", "conv3d")


def with_layout(model: torch.nn.Module, structure: Structure, inputs: Any) -> Structure:
    """Return the structure, saying whether the model takes answers of its convolutions in ``channels_last``.

    Its own answers are then what they were, to float32's rounding, and lie in memory as they did.

    Args:
        model: the user's.
        structure: what its forward calls.
        inputs: of a forward, few rows best.
    """
    convs = [name for name, site in structure.sites.items() if site.kind in _KINDS and site.island < 0]
    if not convs:
        return structure
    reason = _objection(model, convs, inputs)
    if reason:
        _log.info("convolutions answer in the memory format of their input: %s", reason)
    return replace(structure, channels_last=not reason)


class _ChannelsLast(FloatForm):
    """A float convolution that answers in ``channels_last``."""

    kind = "float_form_channels_last"

    def forward(self, input: Any) -> Any:  # noqa: A002 - named as torch names it
        """Return the float op's output in that format."""
        return channels_last(super().forward(input))


def _objection(model: torch.nn.Module, convs: list[str], inputs: Any) -> str:
    """Return the reason against ``channels_last``, an empty string where there is none."""
    new = {conv: _ChannelsLast(submodule(model, conv)) for conv in convs}
    try:
        outputs = _outputs(structural_clone(model, new), inputs)
    except Exception as error:  # noqa: BLE001 - whatever the model's own code raises is the reason
        return f"in channels_last the forward raises {one_line(error)}"
    wanted = _outputs(structural_clone(model), inputs)
    if apart(predictions(outputs), predictions(wanted)) > ROUNDING:
        return "in channels_last the model answers differently"
    formats = [[tensor.is_contiguous() for tensor in tensors_in(given)] for given in (outputs, wanted)]
    return "" if formats[0] == formats[1] else "the model's own answers would lie in memory in another order"


def _outputs(clone: torch.nn.Module, inputs: Any) -> Any:
    leave_fast_path(clone)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a model may draw numbers of its own
        return call(clone, inputs)
