"""A tuned model on disk: ``config.json``, ``model.safetensors`` and ``recipe.json``. No pickle, written or read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ilit.errors import ArtefactError, IlitError
from ilit_pytorch import tensorfile
from ilit_pytorch.artefact import integrity
from ilit_pytorch.artefact.content import FORMAT, Content, content_of
from ilit_pytorch.artefact.restore import RECIPE, TENSORS, restored
from ilit_pytorch.lowering.info import QUANTIZATION

CONFIG = "config.json"
READ = (1, FORMAT)  # 1 has no digests, no class and no extra state


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
