"""A tuned model on disk: ``config.json``, ``model.safetensors`` and ``recipe.json``. No pickle, written or read."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ilit.adapter import Cpu
from ilit.errors import ArtefactError, IlitError, IlitWarning, ModelError
from ilit.recipe import Recipe
from ilit_pytorch import cpu, integrity, tensorfile
from ilit_pytorch.clone import leave_fast_path, structural_clone, uncompiled
from ilit_pytorch.float_state import extra_tensors, fill_extra, float_state
from ilit_pytorch.lowering_info import QUANTIZATION, LoweringInfo, lowered_modules, say_in_config
from ilit_pytorch.modules.conv import geometry
from ilit_pytorch.modules.lowered import RESTORE, Lowered
from ilit_pytorch.ops import inner_op

FORMAT = 2
READ = (1, FORMAT)  # 1 has no digests, no class and no extra state
RECIPE, CONFIG, TENSORS = "recipe.json", "config.json", "model.safetensors"
_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
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


def save(model: Any, folder: Path) -> None:
    """Write a lowered model into an existing folder.

    Raises:
        ArtefactError: the model was not lowered by this adapter.
        ModelError: it holds something that these files cannot.
    """
    content = content_of(model)
    tensors = {name: tensor.contiguous().clone() for name, tensor in content.tensors.items()}
    tensorfile.write(tensors, folder / TENSORS)
    _write_json(folder / CONFIG, architecture(model))
    _seal(folder, {**content.recipe, "sha256": integrity.digests_of(tensors.items()), "files": {}}, [CONFIG])


def add_files(folder: Path, names: Iterable[str]) -> None:
    """Enter further files of an artefact's folder, such as a tokenizer's, into its recipe: a changed one is refused."""
    _seal(folder, read_recipe(folder), names)


def _seal(folder: Path, recipe: Mapping[str, Any], files: Iterable[str]) -> None:
    """Write ``recipe.json`` with the digests of further files of the folder, and its own."""
    digests = {name: integrity.file_digest(folder / name) for name in files}
    sealed = {**recipe, "files": {**recipe["files"], **digests}}
    _write_json(folder / RECIPE, {**sealed, integrity.DIGEST: integrity.json_digest(sealed)})


def content_of(model: Any) -> Content:
    """Return what the artefact of a lowered model holds; the tensors are the model's own.

    Under the name of each float weight that INT8 codes stand for there is an empty tensor, a guard: whoever reads the
    file as a float checkpoint, as transformers does, is stopped by its shape, and gets no random weight in its place.

    Raises:
        ArtefactError: the model was not lowered by this adapter.
        ModelError: it holds something that the artefact's files cannot.
    """
    info = getattr(model, "ilit", None)
    if not isinstance(info, LoweringInfo):
        raise ArtefactError(f"{type(model).__name__} was not lowered by ilit; save what tune() returned")
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
    fused = meta.get("post_op") == "relu" or meta.get("op", (None, False))[1]
    return f"{path}.0.weight" if fused else f"{path}.weight"


def _entry(path: str, module: Lowered) -> dict[str, Any]:
    computed = {"computed": True, "computing": list(module.computing)} if module.computed else {}
    return {"path": path, "kind": module.kind, "meta": module.meta(), **computed}


def architecture(model: torch.nn.Module) -> dict[str, Any]:
    """Return ``config.json``: the model's own config where it has one, else only its class's name.

    A transformers model's config names its class in ``architectures``, so that its architecture can be built again.
    """
    config: Any = getattr(model, "config", None)
    name = type(model).__name__
    if hasattr(config, "to_json_string") and hasattr(config, "to_dict"):
        plain: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
        return {**plain, "architectures": plain.get("architectures") or [name], "quantization_config": QUANTIZATION}
    return {"class": f"{type(model).__module__}.{type(model).__qualname__}", "architectures": [name]}


def read_recipe(folder: Path) -> dict[str, Any]:
    """Return ``recipe.json`` of an artefact.

    Raises:
        ArtefactError: it is missing, not JSON, of another format version, or damaged.
    """
    file = folder / RECIPE
    recipe = _read_json(file)
    if recipe.get("format") not in READ:
        raise ArtefactError(
            f"{file}: format {recipe.get('format')!r} is none of {READ[0]} to {READ[-1]}, which are read here; "
            "install the ilit-pytorch that wrote it, or tune again"
        )
    if recipe["format"] != READ[0]:
        with _told(file):
            integrity.check_recipe(recipe, file)
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
    with _told(folder / RECIPE):
        try:
            tensors = load_file(folder / TENSORS)
        except (OSError, SafetensorError) as error:
            raise ArtefactError(f"{folder / TENSORS}: {error}; write the model again") from error
        if recipe["format"] != READ[0]:
            integrity.check_tensors(tensors, recipe["sha256"], folder / TENSORS)
        return restored(Content(recipe, tensors), skeleton, folder)


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn whatever JSON of another shape, and tensors that do not fit it, raise into an ``ArtefactError``."""
    try:
        yield
    except ArtefactError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, IlitError) as error:
        what = str(error).strip().split("\n")[0]
        raise ArtefactError(
            f"{file}: does not describe this model ({type(error).__name__}: {what}); write the model again"
        ) from error


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
    integrity.check_numbers(f"{folder}: {path}", kind, meta, own)
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
    wanted: Any = {"linear": torch.nn.Linear, "embedding": torch.nn.Embedding, "conv": _CONVOLUTIONS}.get(kind)
    if wanted is not None and not isinstance(inner, wanted):
        raise ArtefactError(f"{place} is an INT8 {kind}, the architecture given has a {type(inner).__name__} there")
    if kind == "conv":
        found = [meta[name] for name in ("stride", "padding", "dilation", "groups")]
        there = geometry(inner)
        if there is None or list(there) != found:
            raise ArtefactError(f"{place} has the geometry {found}, the architecture given {there and list(there)}")
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


def _without_aliases(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return each tensor once, and alias -> name for parameters that stand in several places."""
    first: dict[int, str] = {}
    aliases = {name: first[id(t)] for name, t in tensors.items() if first.setdefault(id(t), name) != name}
    return {name: tensor for name, tensor in tensors.items() if name not in aliases}, aliases


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
    old, new = getattr(inner_op(original), "weight", None), own.get("weight")
    if new is not None and (not isinstance(old, torch.Tensor) or old.shape != new.shape):
        found = tuple(old.shape) if isinstance(old, torch.Tensor) else "none"
        raise ArtefactError(f"{folder}: {path}.weight is {tuple(new.shape)}, the architecture given has {found}")


def _warn_of_other_class(folder: Path, made: Cpu) -> None:
    here = cpu.describe()
    if here.int8_class == made.int8_class:
        return
    warnings.warn(
        f"{folder}: tuned for CPU class {made.int8_class} ({made.isa}), this one is {here.int8_class} ({here.isa}): "
        "its answers are the same here, its speed is not; tune again on this CPU",
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
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{file}: {error}; write the model again") from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{file}: not a JSON object; write the model again")
    return content
