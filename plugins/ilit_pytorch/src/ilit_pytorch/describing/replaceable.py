"""Which ops the model's own code lets an INT8 module stand for, found out by forwards before anything is searched.

A forward may look at its layers: at their class, at attributes. So ops are replaced by modules that look like INT8 ones
and compute in float, bit by bit. Where a forward then raises or answers differently, an op stays in float with that as
its reason. Between torch's stubs it is the quantized tensors that may not go through, so there the real modules are
tried; where they fail, the stubs are taken for what they are in float, the identity.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from ilit.errors import ModelError, one_line
from ilit.evaluation import identical
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit_pytorch.calibration.result import TorchCalibration
from ilit_pytorch.calibration.stats import CalibrationStats
from ilit_pytorch.lowering.lower import lower
from ilit_pytorch.lowering.packs import PackCache
from ilit_pytorch.lowering.session import LoweringCache, LoweringSession
from ilit_pytorch.model.batch import call, first_rows, predictions
from ilit_pytorch.model.clone import leave_fast_path, structural_clone, submodule
from ilit_pytorch.model.structure import Island, Structure
from ilit_pytorch.model.weights import output_first
from ilit_pytorch.module_parts.dequantized import Dequantized
from ilit_pytorch.module_parts.lowered import Lowered, frozen
from ilit_pytorch.module_parts.output import float_output
from ilit_pytorch.quantization.qparams import ActivationParams
from ilit_pytorch.tracing.ops import has_hooks, inner_op
from ilit_pytorch.tracing.trace import TRACED_ROWS

_log = logging.getLogger("ilit.pytorch")

_STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8"))


def replaceable(structure: Structure, reference: Reference) -> Structure:
    """Return the structure of the reference's model without what cannot be replaced; ``Structure.left`` says why."""
    structure = _passable_islands(reference.model, structure, reference.inputs)
    reasons = _looked_at(structure, reference)
    if not reasons:
        return structure
    sites = {name: site for name, site in structure.sites.items() if name not in reasons}
    shared = {stub: tuple(op for op in ops if op in sites) for stub, ops in structure.shared.items()}
    return replace(structure, sites=sites, shared=shared, left={**structure.left, **reasons})


@dataclass(frozen=True)
class Reference:
    """A forward of the float model.

    Attributes:
        model: the user's.
        clone: of it; has run the forward, so that computed weights are those of now.
        inputs: of the forward.
        wanted: what it answers; None where it answers differently each time.
    """

    model: torch.nn.Module
    clone: torch.nn.Module
    inputs: Any
    wanted: Any


def reference_of(model: torch.nn.Module, inputs: Any) -> Reference:
    """Return a forward on a few of the rows, or on all where the model does not take so few."""
    clone = structural_clone(model)
    leave_fast_path(clone)
    few = first_rows(inputs, TRACED_ROWS)
    if few is not None:
        try:
            return Reference(model, clone, few, _answers(clone, few))
        except Exception as error:  # noqa: BLE001 - the whole batch is tried then
            _log.info("the model does not take %d rows: %s", TRACED_ROWS, error)
    return Reference(model, clone, inputs, _answers(clone, inputs))


# --- Ops that the forward looks at ---------------------------------------------------------------------------------


class FloatForm(Lowered):
    """An INT8 op from outside, the float op inside."""

    kind: ClassVar[str] = "float_form"
    made = frozenset({"op", "weight_scale", "int8_bias"})

    def __init__(self, op: Any) -> None:
        super().__init__()
        vars(self)["op"] = op  # past torch's __setattr__: it is no submodule, as an INT8 op has none
        inner, bias = inner_op(op), getattr(inner_op(op), "bias", None)
        self._parameters.update(weight_scale=frozen(torch.ones(output_first(inner).shape[0])))
        self._parameters.update(int8_bias=None if bias is None else frozen(bias))

    @property
    def weight(self) -> torch.Tensor:
        """The float weight, read only."""
        weight = inner_op(vars(self)["op"]).weight
        return Dequantized(tuple(weight.shape), self.dtype, weight.detach)

    @property
    def bias(self) -> torch.Tensor | None:
        """The float bias; None where the op has none."""
        return self.int8_bias if self.biased else None

    def forward(self, input: Any) -> Any:  # noqa: A002 - named as torch names it
        """Return the float op's output, in the form in which an INT8 one gives it."""
        op: Any = vars(self)["op"]
        with torch.no_grad():
            output = type(op).forward(op, input)  # past its hooks, which this module has taken over
        return output if isinstance(op, torch.nn.Embedding) else float_output(output, input, self.weight_scale)


def _looked_at(structure: Structure, reference: Reference) -> dict[str, str]:
    """Return the ops outside islands that the forward does not take an INT8 module for, each with the reason."""
    ops = [name for name, site in structure.sites.items() if site.island < 0]
    if not _objection(ops, structure, reference):
        return {}
    if reference.wanted is None or not identical(reference.wanted, _answers(reference.clone, reference.inputs)):
        reference = replace(reference, wanted=None)  # it answers at random, so only what it raises tells something
    reasons: dict[str, str] = {}
    accepted: list[str] = []
    for op in ops:
        reason = _objection([*accepted, op], structure, reference)
        if reason:
            reasons[op] = reason
        else:
            accepted.append(op)
    return reasons


def _objection(ops: Sequence[str], structure: Structure, reference: Reference) -> str:
    """Return the objection to replacing all of these ops at once, an empty string where there is none."""
    new = {op: FloatForm(submodule(reference.clone, op)) for op in ops}
    for op, form in new.items():
        site = structure.sites[op]
        vars(form).update(computed=site.computed, computing=site.computing)
    try:
        changed = structural_clone(reference.model, new)
        leave_fast_path(changed)
        found = _answers(changed, reference.inputs)
    except ModelError as error:  # what ilit says of copying it
        return one_line(error)
    except Exception as error:  # noqa: BLE001 - whatever the model's own code raises is the reason
        return f"with an INT8 module in its place the forward raises {one_line(error)}"
    if reference.wanted is None or identical(reference.wanted, found):
        return ""
    return "with an INT8 module in its place the forward goes another way"


def _answers(model: torch.nn.Module, inputs: Any) -> Any:
    with torch.no_grad():
        return predictions(call(model, inputs))


# --- Islands -------------------------------------------------------------------------------------------------------


class _AnyRange(LoweringSession):
    """Says the same range of every activation: whether modules fit together does not depend on it."""

    def params(self, *_: Any, **__: Any) -> ActivationParams:
        return ActivationParams(0.05, 128, 255)


def _passable_islands(model: torch.nn.Module, structure: Structure, inputs: Any) -> Structure:
    """Return the structure without islands that quantized tensors cannot pass; their ops are then like any others."""
    if not structure.islands:
        return structure
    passable: list[Island] = []
    sites = dict(structure.sites)
    for number, island in enumerate(structure.islands):
        reason = _hooked(model, island, structure) or _impassable(model, structure, island, inputs)
        if reason:
            _log.warning("the ops between the stubs %s run as if these were not there: %s", island.stubs, reason)
        inside = [name for name, site in structure.sites.items() if site.island == number]
        sites.update((name, replace(sites[name], island=-1 if reason else len(passable))) for name in inside)
        passable += [] if reason else [island]
    return replace(structure, sites=sites, islands=tuple(passable))


def _hooked(model: torch.nn.Module, island: Island, structure: Structure) -> str:
    """Name a module of an island with hooks, which would be given quantized tensors; else return an empty string."""
    for name in (*island.stubs, *island.ops, *island.others, *island.functionals, *structure.dequant_stubs):
        if has_hooks(submodule(model, name)):
            return f"{name} has hooks, which are for float tensors"
    return ""


def _impassable(model: torch.nn.Module, structure: Structure, island: Island, inputs: Any) -> str:
    """Return the error of a forward with all ops of an island lowered, whatever their ranges; else an empty string."""
    if not island.ops:
        return ""
    seen = CalibrationStats(stats=dict.fromkeys((f"{name}:out" for name in structure.island_outputs()), None))  # type: ignore[arg-type]  # only the names count
    calibration = TorchCalibration(structure, {"": seen}, 0, frozenset(), [inputs], [])
    session = _AnyRange(model, calibration, LoweringCache(PackCache(0)))
    recipe = Recipe({op: _STATIC if op in island.ops else FLOAT32 for op in structure.sites}, "")
    try:
        _answers(lower(session, recipe), inputs)
    except Exception as error:  # noqa: BLE001 - whatever is raised is the reason
        return one_line(error)
    return ""
