"""A tuned model on disk: ``config.json``, ``model.safetensors`` and ``recipe.json``. No pickle, written or read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ilit.adapter import Cpu
from ilit.errors import ArtefactError, IlitWarning
from ilit.recipe import Recipe
from ilit_pytorch import cpu
from ilit_pytorch.clone import leave_fast_path, replace_modules, structural_clone
from ilit_pytorch.lower import Provenance, lowered_modules
from ilit_pytorch.modules.lowered import RESTORE
from ilit_pytorch.trace import inner_op

FORMAT = 1
RECIPE, CONFIG, TENSORS = "recipe.json", "config.json", "model.safetensors"
MARK = "::"  # between module path and tensor name of what lowering made; no module path has it


def save(model: Any, folder: Path) -> None:
    """Write a lowered model into an existing folder.

    Raises:
        ArtefactError: the model was not lowered by this adapter.
    """
    provenance = getattr(model, "ilit", None)
    if not isinstance(provenance, Provenance):
        raise ArtefactError(f"{type(model).__name__} was not lowered by ilit; save what tune() returned")
    tensors, aliases = _without_aliases(_float_tensors(model, provenance))
    for path, module in zip(provenance.paths, lowered_modules(model), strict=True):
        tensors.update({f"{path}{MARK}{name}": tensor for name, tensor in module.tensors().items()})
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, folder / TENSORS)
    recipe = {
        "format": FORMAT,
        "adapter": "pytorch",
        "cpu": asdict(provenance.cpu),
        "versions": {"torch": torch.__version__},
        "recipe": provenance.recipe.to_json(),
        "modules": [
            {"path": path, "kind": module.kind, "meta": module.meta()}
            for path, module in zip(provenance.paths, lowered_modules(model), strict=True)
        ],
        "aliases": aliases,
    }
    _write_json(folder / RECIPE, recipe)
    _write_json(folder / CONFIG, architecture(model))


def architecture(model: torch.nn.Module) -> dict[str, Any]:
    """Return ``config.json``: the model's own config where it has one, else only its class's name.

    A transformers model's config names its class in ``architectures``, so that its architecture can be built again.
    """
    config: Any = getattr(model, "config", None)
    name = type(model).__name__
    if hasattr(config, "to_json_string") and hasattr(config, "to_dict"):
        plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
        return {**plain, "architectures": plain.get("architectures") or [name]}
    return {"class": f"{type(model).__module__}.{type(model).__qualname__}", "architectures": [name]}


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return ``recipe.json`` of an artefact.

    Raises:
        ArtefactError: it is missing, not JSON, or of another format version.
    """
    recipe = _read_json(folder / RECIPE)
    if recipe.get("format") != FORMAT:
        raise ArtefactError(f"{folder / RECIPE}: format {recipe.get('format')!r} is not {FORMAT}, the one read here")
    return recipe


def read_config(folder: Path) -> dict[str, Any]:
    """Return ``config.json`` of an artefact.

    Raises:
        ArtefactError: it is missing or not JSON.
    """
    return _read_json(folder / CONFIG)


def load(folder: Path, skeleton: torch.nn.Module) -> torch.nn.Module:
    """Return the tuned model. ``skeleton`` gives the architecture in float; its values are not used, nor is it changed.

    Raises:
        ArtefactError: files are missing or damaged, or do not fit the skeleton.
    """
    recipe = read_recipe(folder)
    try:
        tensors = load_file(folder / TENSORS)
        return _restored(folder, recipe, tensors, skeleton)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{folder / TENSORS}: {error}; write the model again") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # what reading JSON of another shape raises
        raise ArtefactError(
            f"{folder / RECIPE}: does not describe this model ({type(error).__name__}: {error}); write the model again"
        ) from error


def _restored(
    folder: Path, recipe: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], skeleton: torch.nn.Module
) -> torch.nn.Module:
    made = Cpu(**recipe["cpu"])
    _warn_of_other_class(folder, made)
    model = structural_clone(skeleton)
    _fill(model, tensors, recipe["aliases"], folder)
    replacements = {}
    for entry in recipe["modules"]:
        path, kind = str(entry["path"]), str(entry["kind"])
        if kind not in RESTORE:
            raise ArtefactError(f"{folder / RECIPE}: {path}: no module kind '{kind}'; update ilit-pytorch")
        prefix = f"{path}{MARK}"
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        original = _submodule(model, path, folder)
        _check_weight(folder, path, own, original)
        replacements[path] = RESTORE[kind](entry["meta"], own, original)
    if replacements:
        leave_fast_path(model)
    loaded = replace_modules(model, replacements)
    paths = {str(entry["path"]): str(entry["kind"]) for entry in recipe["modules"]}
    provenance = Provenance(Recipe.from_json(recipe["recipe"]), made, paths)
    filled = {name for name in tensors if MARK not in name} | set(recipe["aliases"])
    unfilled = [name for name in _float_tensors(loaded, provenance) if name not in filled]
    if unfilled:
        raise ArtefactError(f"{folder / TENSORS}: lacks {unfilled[0]}, which the architecture given has")
    loaded.ilit = provenance  # type: ignore[assignment]  # a module may hold any attribute
    return loaded.eval()


def _float_tensors(model: torch.nn.Module, provenance: Provenance) -> dict[str, torch.Tensor]:
    """Return what stayed float, by its path in the float model: wrappers' ``original`` is left out of names."""
    wrapped = {f"{path}.original.": f"{path}." for path in provenance.paths}
    tensors: dict[str, torch.Tensor] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        owner = next((p for p in provenance.paths if path == p or path.startswith(f"{p}.")), None)
        inside = owner is not None and not f"{path}.".startswith(f"{owner}.original.")
        if inside or (isinstance(getattr(module, "kind", None), str) and type(module).kind in RESTORE):
            continue
        own = {**module._parameters, **module._buffers}  # noqa: SLF001 - state_dict leaves out non-persistent buffers
        for name, tensor in own.items():
            if tensor is not None:
                full = f"{path}.{name}" if path else name
                prefix = next((w for w in wrapped if full.startswith(w)), "")
                tensors[wrapped.get(prefix, "") + full.removeprefix(prefix)] = tensor
    return tensors


def _without_aliases(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return each tensor once, and alias -> name for parameters that stand in several places."""
    first: dict[int, str] = {}
    aliases = {name: first[id(t)] for name, t in tensors.items() if first.setdefault(id(t), name) != name}
    return {name: tensor for name, tensor in tensors.items() if name not in aliases}, aliases


def _fill(
    model: torch.nn.Module, tensors: Mapping[str, torch.Tensor], aliases: Mapping[str, str], folder: Path
) -> None:
    """Put the float tensors into the clone of the skeleton as new parameters; the skeleton's stay as they are."""
    places = {name: name for name in tensors if MARK not in name} | dict(aliases)
    made: dict[str, Any] = {}
    for name, stored in places.items():
        parent, _, leaf = name.rpartition(".")
        module = _submodule(model, parent, folder)
        kind: dict[str, Any] = module._parameters if leaf in module._parameters else module._buffers  # noqa: SLF001 - set in place
        old, tensor = kind.get(leaf), tensors[stored]
        if old is None:
            raise ArtefactError(f"{folder}: the architecture given has no {name}; give the one that was tuned")
        if old.shape != tensor.shape:
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
    old, new = getattr(inner_op(original), "weight", None), own.get("weight")
    if new is not None and (not isinstance(old, torch.Tensor) or old.shape != new.shape):
        found = tuple(old.shape) if isinstance(old, torch.Tensor) else "none"
        raise ArtefactError(f"{folder}: {path}.weight is {tuple(new.shape)}, the architecture given has {found}")


def _warn_of_other_class(folder: Path, made: Cpu) -> None:
    here = cpu.describe()
    if here.int8_class == made.int8_class:
        return
    danger = "its codes may saturate here in silence" if here.int8_class == "A" else "it could use wider codes here"
    warnings.warn(
        f"{folder}: tuned for CPU class {made.int8_class} ({made.isa}), this one is {here.int8_class} ({here.isa}): "
        f"{danger}; tune again on this CPU",
        IlitWarning,
        stacklevel=3,
    )


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, sort_keys=False) + "\n")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise ArtefactError(f"{file}: no such file; name the folder of a tuned model") from error
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{file}: {error}; write the model again") from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{file}: not a JSON object; write the model again")
    return content
