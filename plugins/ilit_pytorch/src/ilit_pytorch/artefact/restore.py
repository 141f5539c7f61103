"""From an artefact's content and an architecture to the tuned model; what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ilit.adapter import Cpu
from ilit.errors import ArtefactError, ModelError, warn
from ilit.recipe import Recipe
from ilit_pytorch.artefact.content import MARK, Content
from ilit_pytorch.artefact.float_state import extra_tensors, fill_extra, float_state
from ilit_pytorch.engine import cpu
from ilit_pytorch.lowering.info import LoweringInfo, say_in_config
from ilit_pytorch.model.clone import leave_fast_path, structural_clone, uncompiled
from ilit_pytorch.model.weights import is_transposed, output_first
from ilit_pytorch.module_parts.lowered import RESTORE
from ilit_pytorch.modules.conv import geometry, padding_before
from ilit_pytorch.modules.folded import FLOAT_FORMS
from ilit_pytorch.quantization.checks import check_numbers
from ilit_pytorch.tracing.ops import inner_op

RECIPE, TENSORS = "recipe.json", "model.safetensors"
_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


def restored(content: Content, skeleton: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """Return the tuned model that the content describes.

    Args:
        content: what an artefact holds.
        skeleton: the architecture in float; its values are not used, nor is it changed.
        folder: what errors call the artefact.

    Raises:
        ArtefactError: the content does not fit the skeleton or this CPU.
    """
    recipe, tensors = content.recipe, content.tensors
    model = structural_clone(uncompiled(skeleton))
    _check_class(folder, recipe, model)
    made = Cpu(**recipe["cpu"])
    _warn_of_other_class(folder, made)
    extra = recipe.get("extra", {})
    floats = {name: tensor for name, tensor in tensors.items() if MARK not in name}
    apart = {*recipe.get("attributes", ()), *recipe.get("guards", ()), *extra_tensors(extra)}
    aliases = {alias: name for alias, name in recipe["aliases"].items() if alias not in apart}
    _fill(model, {name: tensor for name, tensor in floats.items() if name not in apart}, aliases, folder)
    for name in recipe.get("attributes", ()):
        owner, _, leaf = name.rpartition(".")
        vars(_submodule(model, owner, folder))[leaf] = floats[recipe["aliases"].get(name, name)]
    replacements = {str(entry["path"]): _rebuilt(folder, entry, model, tensors) for entry in recipe["modules"]}
    _check_names(folder, recipe, tensors)
    loaded = structural_clone(model, replacements)
    if replacements:
        leave_fast_path(loaded)
    fill_extra(loaded, extra, {**floats, **{alias: floats[name] for alias, name in recipe["aliases"].items()}})
    paths = {str(entry["path"]): str(entry["kind"]) for entry in recipe["modules"]}
    _check_filled(loaded, paths, {*floats, *recipe["aliases"]}, folder)
    loaded.ilit = LoweringInfo(Recipe.from_json(recipe["recipe"]), made, paths)  # type: ignore[assignment]  # a module may hold any attribute
    if replacements:
        say_in_config(loaded)
    return loaded.eval()


def _rebuilt(
    folder: Path, entry: Mapping[str, Any], model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> torch.nn.Module:
    """Return one lowered module, its numbers checked; ``model`` is the float one, filled."""
    path, kind, meta = str(entry["path"]), str(entry["kind"]), entry["meta"]
    if kind not in RESTORE:
        raise ArtefactError(f"{folder / RECIPE}: {path}: no module kind '{kind}'; update ilit-pytorch")
    prefix = f"{path}{MARK}"
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    original = _submodule(model, path, folder)
    _check_weight(folder, path, own, original)
    check_numbers(f"{folder}: {path}", kind, meta, own)
    _check_kind(f"{folder}: {path}", kind, meta, own, original)
    new: Any = RESTORE[kind](meta, own, original)
    if new.tensors().keys() != own.keys():
        raise ArtefactError(
            f"{folder}: {path} is made of {', '.join(new.tensors())}, and the files have {', '.join(own)}; write the "
            "model again"
        )
    module: torch.nn.Module = new
    vars(module).update(computed=bool(entry.get("computed")), computing=tuple(entry.get("computing", ())))
    return module


def _check_names(folder: Path, recipe: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse tensors of modules that the recipe does not have, and names that are tensor and alias at once."""
    paths = {str(entry["path"]) for entry in recipe["modules"]}
    stray = next((name for name in tensors if MARK in name and name.partition(MARK)[0] not in paths), None)
    stray = stray or next((alias for alias in recipe["aliases"] if alias in tensors), None)
    if stray is not None:
        raise ArtefactError(
            f"{folder / TENSORS}: {stray} is no part of what the recipe describes; write the model again"
        )


def _check_kind(
    place: str, kind: str, meta: Mapping[str, Any], own: Mapping[str, torch.Tensor], original: torch.nn.Module
) -> None:
    """Compare an INT8 module with the float one it is to stand for: kind, geometry, whether there is a bias."""
    inner = inner_op(original)
    wanted: Any = {"linear": torch.nn.Linear, "embedding": torch.nn.Embedding, "conv": _CONVOLUTIONS, **FLOAT_FORMS}
    wanted = wanted.get(kind)
    if wanted is not None and not isinstance(inner, wanted) and not (kind == "linear" and is_transposed(inner)):
        raise ArtefactError(f"{place} is an INT8 {kind}, the architecture given has a {type(inner).__name__} there")
    if kind == "conv":
        found = [meta[name] for name in ("stride", "padding", "dilation", "groups")]
        there = geometry(inner)
        if list(there) != found:
            raise ArtefactError(f"{place} has the geometry {found}, the architecture given {list(there)}")
        padded = padding_before(inner)
        if (padded and list(padded)) != meta.get("padded"):
            raise ArtefactError(f"{place} is padded by {meta.get('padded')} before, in the architecture by {padded}")
    if kind in ("linear", "conv") and inner._parameters.get("bias") is not None and "bias" not in own:  # noqa: SLF001 - reading might compute
        raise ArtefactError(f"{place} lacks its bias; write the model again")


def _check_class(folder: Path, recipe: Mapping[str, Any], skeleton: torch.nn.Module) -> None:
    tuned = recipe.get("class")
    if tuned is not None and tuned != type(skeleton).__name__:
        raise ArtefactError(
            f"{folder}: is a tuned {tuned}, the architecture given is a {type(skeleton).__name__}; give a {tuned}"
        )


def _check_filled(loaded: torch.nn.Module, paths: Mapping[str, str], filled: set[str], folder: Path) -> None:
    try:
        state = float_state(loaded, paths)
    except ModelError as error:
        raise ArtefactError(f"{folder}: the architecture given does not fit: {error}") from error
    unfilled = [name for name in state.tensors if name not in filled and name not in state.attributes]
    if unfilled:
        raise ArtefactError(f"{folder / TENSORS}: lacks {unfilled[0]}, which the architecture given has")


def _fill(
    model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], aliases: Mapping[str, str], folder: Path
) -> None:
    """Put parameters and buffers into the clone of the skeleton; the skeleton's stay as they are."""
    made: dict[str, Any] = {}
    for name, stored in {**{name: name for name in tensors}, **aliases}.items():
        if stored not in tensors:
            continue
        parent, _, leaf = name.rpartition(".")
        module = _submodule(model, parent, folder)
        kind: dict[str, Any] = module._parameters if leaf in module._parameters else module._buffers  # noqa: SLF001 - set in place
        old, tensor = kind.get(leaf), tensors[stored]
        if old is None and leaf not in module._buffers:  # noqa: SLF001 - a buffer of None may be filled by a forward
            raise ArtefactError(f"{folder}: the architecture given has no {name}; give the one that was tuned")
        if old is not None and old.shape != tensor.shape:
            raise ArtefactError(
                f"{folder}: {name} is {tuple(tensor.shape)}, the architecture given has {tuple(old.shape)}"
            )
        if kind is module._parameters:  # noqa: SLF001 - as above
            tensor = made.setdefault(stored, torch.nn.Parameter(tensor, requires_grad=False))
        kind[leaf] = tensor


def _submodule(model: torch.nn.Module, path: str, folder: Path) -> torch.nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise ArtefactError(f"{folder}: the architecture given has no module {path!r}") from error


def _check_weight(folder: Path, path: str, own: Mapping[str, torch.Tensor], original: torch.nn.Module) -> None:
    """Compare an INT8 weight with the float one it stands for."""
    inner, new = inner_op(original), own.get("weight")
    old = output_first(inner) if hasattr(inner, "weight") else None
    if new is not None and (not isinstance(old, torch.Tensor) or old.shape != new.shape):
        found = tuple(old.shape) if isinstance(old, torch.Tensor) else "none"
        raise ArtefactError(f"{folder}: {path}.weight is {tuple(new.shape)}, the architecture given has {found}")


def _warn_of_other_class(folder: Path, made: Cpu) -> None:
    here = cpu.describe()
    if here.int8_class == made.int8_class:
        return
    warn(
        f"{folder}: tuned for CPU class {made.int8_class} ({made.isa}), this one is {here.int8_class} ({here.isa}): "
        "its answers are the same here, its speed is not; tune again on this CPU"
    )
