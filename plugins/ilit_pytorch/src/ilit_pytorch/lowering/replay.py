"""Replay: saved float32 activations of the probe batches, so that a probe computes only what its recipe changes.

A model is mostly a chain of blocks, such as BERT's layers. Each block's output on each probe batch is saved once. A
recipe whose first op that is not float32 lies in block k gives float32's own outputs in all blocks before k, so these
are put out again instead of computed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ilit.recipe import Recipe
from ilit_pytorch.model.batch import call, tensors_in
from ilit_pytorch.model.clone import leave_fast_path, structural_clone
from ilit_pytorch.model.structure import Structure

MOST_BYTES = 256 << 20  # of saved activations; a model that needs more is probed without

_log = logging.getLogger("ilit.pytorch")


@dataclass
class Replay:
    """What each block gave.

    Attributes:
        blocks: paths of the blocks in the order they run.
        outputs: for each probe batch, block -> its output.
        first: op -> position of the first block whose output it can change.
        batch: the probe batch that is being run.
    """

    blocks: tuple[str, ...] = ()
    outputs: list[dict[str, Any]] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)
    batch: int = 0

    def apply_to(self, lowered: torch.nn.Module, recipe: Recipe) -> None:
        """Let the blocks before the first changed op give their saved outputs; ``lowered`` is then for probes only."""
        for path in self.blocks[: _unchanged(self.first, recipe)]:
            parent, _, leaf = path.rpartition(".")
            lowered.get_submodule(parent)._modules[leaf] = _SavedBlock(self, path)  # noqa: SLF001 - setattr refuses names with dots


class _SavedBlock(torch.nn.Module):
    """Stands for a block whose output is known."""

    def __init__(self, replay: Replay, path: str) -> None:
        super().__init__()
        self.replay, self.path = replay, path

    def forward(self, *_: Any, **__: Any) -> Any:
        """Return the saved output for the batch being run."""
        return self.replay.outputs[self.replay.batch][self.path]


def pays(model: torch.nn.Module, structure: Structure, recipe: Recipe) -> bool:
    """Return whether the recipe leaves a block unchanged, so that a pass of the float model is worth its time."""
    blocks = tuple(_blocks(model, structure))
    return _unchanged(_first_changed(blocks, structure), recipe) > 0


def _unchanged(first: dict[str, int], recipe: Recipe) -> int:
    """Return the number of leading blocks that a recipe leaves as they are."""
    changed = [name for name, config in recipe.ops.items() if config.dtype != "float32"]
    return min((first.get(name, 0) for name in changed), default=0)


def record(model: torch.nn.Module, structure: Structure, batches: list[Any]) -> Replay:
    """Run the float model over the batches and save what its blocks give; nothing where that cannot be used."""
    blocks = _blocks(model, structure)
    if len(blocks) < 2:
        return Replay()
    clone = structural_clone(model)
    leave_fast_path(clone)
    calls: list[tuple[str, Any, list[int]]] = []
    for path in blocks:
        clone.get_submodule(path).register_forward_hook(_noted(path, calls))
    outputs: list[dict[str, Any]] = []
    with torch.no_grad():
        for inputs in batches:
            calls.clear()
            call(clone, inputs)
            outputs.append({path: output for path, output, _ in calls})
            reason = _useless(calls, outputs, len(batches))
            if reason:
                _log.info("probes reuse no activations: %s", reason)
                return Replay()
    ran = tuple(outputs[0])
    return Replay(ran, outputs, _first_changed(ran, structure))


def _noted(path: str, calls: list[tuple[str, Any, list[int]]]) -> Callable[..., None]:
    def hook(_module: torch.nn.Module, _args: Any, output: Any) -> None:
        calls.append((path, output, [tensor._version for tensor in tensors_in(output)]))  # noqa: SLF001 - no public name

    return hook


def _useless(calls: list[tuple[str, Any, list[int]]], outputs: list[dict[str, Any]], batches: int) -> str:
    """Return the reason for which the outputs of a pass over one batch cannot be reused, else an empty string."""
    if len(calls) != len(outputs[-1]) or tuple(outputs[-1]) != tuple(outputs[0]):
        return "the model's blocks do not each run once, in the same order"
    for path, output, versions in calls:
        if [tensor._version for tensor in tensors_in(output)] != versions:  # noqa: SLF001 - as above
            return f"what {path} gives is written to later"
    size = sum(tensor.numel() * tensor.element_size() for one in outputs for tensor in tensors_in(list(one.values())))
    if size * batches > MOST_BYTES * len(outputs):
        return f"they would take more than {MOST_BYTES} bytes"
    return ""


def _blocks(model: torch.nn.Module, structure: Structure) -> list[str]:
    """Return the paths of the outermost list of modules with ops in two or more of them."""
    for path, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList | torch.nn.Sequential):
            continue
        children = [f"{path}.{name}" if path else name for name, _ in module.named_children()]
        holding = [child for child in children if any(_inside(op, child) for op in structure.sites)]
        if len(holding) > 1:
            return holding
    return []


def _first_changed(blocks: tuple[str, ...], structure: Structure) -> dict[str, int]:
    """Return for each op how many of the leading blocks have used all their ops before it is used first."""
    order = {name: position for position, name in enumerate(structure.sites)}
    last = [max(position for name, position in order.items() if _inside(name, block)) for block in blocks]
    return {
        name: next((k for k, end in enumerate(last) if end >= position), len(blocks))
        for name, position in order.items()
    }


def _inside(op: str, block: str) -> bool:
    return op == block or op.startswith(f"{block}.")
