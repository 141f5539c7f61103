"""The content of an artefact in memory, made of a lowered model: its recipe as JSON and its tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ilit.errors import ArtefactError
from ilit_pytorch.artefact.float_state import float_state
from ilit_pytorch.lowering.info import LoweringInfo, lowered_modules
from ilit_pytorch.lowering.twin import EMULATED
from ilit_pytorch.module_parts.lowered import Lowered

FORMAT = 2
MARK = "::"  # between module path and tensor name of what lowering made; no module path has it


@dataclass(frozen=True)
class Content:
    """What an artefact holds, in memory.

    Attributes:
        recipe: ``recipe.json`` without digests.
        tensors: ``model.safetensors``.
    """

    recipe: dict[str, Any]
    tensors: dict[str, torch.Tensor]


def content_of(model: Any) -> Content:
    """Return the content of a lowered model's artefact; the tensors are the model's own.

    Under the name of each float weight that INT8 codes stand for there is an empty tensor, a guard: whoever reads the
    file as a float checkpoint, as transformers does, is stopped by its shape, and gets no random weight in its place.

    Raises:
        ArtefactError: the model was not lowered by this adapter, or is a saturation twin.
        ModelError: it holds something that the artefact's files cannot.
    """
    info = getattr(model, "ilit", None)
    if not isinstance(info, LoweringInfo):
        raise ArtefactError(f"{type(model).__name__} was not lowered by ilit; save what tune() returned")
    if not EMULATED.isdisjoint(info.paths.values()):
        raise ArtefactError("a saturation twin is for scores alone; save the model it was made of")
    state = float_state(model, info.paths)
    tensors, aliases = _without_aliases(state.tensors)
    made = list(zip(info.paths, lowered_modules(model), strict=True))
    for path, module in made:
        tensors.update({f"{path}{MARK}{name}": tensor for name, tensor in module.tensors().items()})
    guards = [_guard(path, module) for path, module in made if f"{path}{MARK}weight" in tensors]
    tensors.update({name: torch.empty(0) for name in guards})
    recipe = {
        "format": FORMAT,
        "adapter": "pytorch",
        "class": type(model).__name__,
        "cpu": asdict(info.cpu),
        "versions": {"torch": torch.__version__},
        "recipe": info.recipe.to_json(),
        "modules": [_entry(path, module) for path, module in made],
        "aliases": aliases,
        "attributes": sorted(state.attributes),
        "guards": guards,
        "extra": state.extra,
    }
    return Content(recipe, {name: tensor.detach() for name, tensor in tensors.items()})


def _guard(path: str, module: Lowered) -> str:
    """Return the name of the float weight; in torch's fused forms the op is the first of two."""
    meta = module.meta()
    fused = (meta.get("post_op") == "relu" and not meta.get("folded")) or meta.get("op", (None, False))[1]
    return f"{path}.0.weight" if fused else f"{path}.weight"


def _entry(path: str, module: Lowered) -> dict[str, Any]:
    computed = {"computed": True, "computing": list(module.computing)} if module.computed else {}
    return {"path": path, "kind": module.kind, "meta": module.meta(), **computed}


def _without_aliases(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return each tensor once, and alias -> name for parameters that stand in several places."""
    first: dict[int, str] = {}
    aliases = {name: first[id(t)] for name, t in tensors.items() if first.setdefault(id(t), name) != name}
    return {name: tensor for name, tensor in tensors.items() if name not in aliases}, aliases
