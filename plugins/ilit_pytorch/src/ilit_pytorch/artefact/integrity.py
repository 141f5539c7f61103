"""Integrity of an artefact: whether its files hold what was written, by SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ilit.errors import ArtefactError

DIGEST = "digest"


def tensor_digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of a tensor's dtype, shape and bytes, 64 hex digits."""
    plain = tensor.detach().contiguous()
    state = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)} ".encode())
    state.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits.

    Raises:
        ArtefactError: there is no such file.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ArtefactError(f"{file}: cannot be read ({error.strerror}); write the model again") from error


def json_digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object, its own ``digest`` left out, however it is laid out; 64 hex digits."""
    rest = {key: value for key, value in content.items() if key != DIGEST}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_recipe(content: Mapping[str, Any], file: Path) -> None:
    """Compare ``recipe.json`` with its own digest, and the files that it names with theirs.

    Raises:
        ArtefactError: one of them has changed since it was written.
    """
    if content.get(DIGEST) != json_digest(content):
        raise ArtefactError(f"{file}: is damaged or was edited, its SHA-256 is another; write the model again")
    for name, digest in content["files"].items():
        # A model may be served without its tokenizer; what is needed and missing is named where it is read.
        if (file.parent / name).exists() and file_digest(file.parent / name) != digest:
            raise ArtefactError(
                f"{file.parent / name}: is damaged or was edited, its SHA-256 is another; write the model again"
            )


def check_tensors(tensors: Mapping[str, torch.Tensor], digests: Mapping[str, str], file: Path) -> None:
    """Compare the tensors that were read with the digests of those that were written.

    Raises:
        ArtefactError: one is missing, was not written, or differs; it is named.
    """
    for name in sorted({*tensors} ^ {*digests}):
        found = "is not in it" if name in digests else "was not written into it"
        raise ArtefactError(f"{file}: {name} {found}; write the model again")
    for name, tensor in tensors.items():
        if tensor_digest(tensor) != digests[name]:
            raise ArtefactError(f"{file}: {name} is damaged, its SHA-256 is another; write the model again")


def digests_of(tensors: Iterable[tuple[str, torch.Tensor]]) -> dict[str, str]:
    """Return each tensor's digest by name."""
    return {name: tensor_digest(tensor) for name, tensor in tensors}
