"""The entries of a lowered module in a state dict, made from its parts and read back to them.

Parts are what a module says it is made of: ``meta``, a JSON object, and ``tensors`` by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ilit.errors import ArtefactError
from ilit_pytorch.quantization.checks import check_numbers

OWN = "int8_"
"""Begins the names of a lowered module's entries in a state dict."""
FORM = "form"

Parts = tuple[dict[str, Any], dict[str, torch.Tensor]]
"""``meta`` and ``tensors`` of a module."""


def entries_of(kind: str, meta: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a module's entries of a state dict, without ``OWN``.

    Its tensors, the scale (float64) and zero point (int64) of a static activation, both of shape (), and as ``form``
    what has to be alike in two modules that exchange these: JSON in UTF-8, uint8 (bytes,).
    """
    found, form = dict(tensors), _form_of(meta)
    for place, name in _static_places(meta):
        found[f"{name}_scale"] = torch.tensor(float.fromhex(place["scale"]), dtype=torch.float64)
        found[f"{name}_zero_point"] = torch.tensor(place["zero_point"], dtype=torch.int64)
    if not found:
        return {}
    if "quantizer" in form:
        form["quantizer"] = _form_of(form["quantizer"])
    text = json.dumps({"kind": kind, **form}, sort_keys=True)
    found[FORM] = torch.tensor(list(text.encode()), dtype=torch.uint8)
    return found


def parts_from(meta: Mapping[str, Any], names: Iterable[str], given: Mapping[str, torch.Tensor]) -> Parts:
    """Return the parts that the entries of a state dict describe; they share no memory with them.

    Args:
        meta: of a module of the same form.
        names: of its tensors.
        given: the entries, without ``OWN``.
    """
    own: dict[str, Any] = json.loads(json.dumps(meta))
    for place, name in _static_places(own):
        place["scale"] = float(given[f"{name}_scale"]).hex()
        place["zero_point"] = int(given[f"{name}_zero_point"])
    return own, {name: given[name].detach().clone() for name in names}


def misfit(where: str, expected: Mapping[str, torch.Tensor], given: Mapping[str, Any]) -> str:
    """Return the reason for which entries cannot be of a module whose own are ``expected``, else an empty string.

    Args:
        where: path of the module, for the message.
        expected: the module's entries, without ``OWN``.
        given: entries under all these names.
    """
    for name, tensor in expected.items():
        value = given[name]
        if not isinstance(value, torch.Tensor) or value.dtype != tensor.dtype or value.device != tensor.device:
            found = (
                f"{value.dtype} on {value.device}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
            )
            return f"{where}: {OWN}{name} is {found}, this INT8 module has {tensor.dtype} on {tensor.device}"
    theirs, ours = (bytes(state[FORM].flatten().tolist()).decode(errors="replace") for state in (given, expected))
    if theirs != ours:
        return f"{where}: the state is of another recipe: {theirs}, where this INT8 module is {ours}"
    for name, tensor in expected.items():
        if given[name].shape != tensor.shape:
            return (
                f"{where}: {OWN}{name} is {given[name].dtype} {tuple(given[name].shape)}, "
                f"this INT8 module has {tensor.dtype} {tuple(tensor.shape)}"
            )
    return ""


def misfit_numbers(where: str, kind: str, parts: Parts) -> str:
    """Return the reason for which parts of the right form cannot run on this CPU, else an empty string."""
    try:
        check_numbers(where, kind, *parts)
    except ArtefactError as error:
        return str(error)
    return ""


def _static_places(meta: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Return the mappings in ``meta`` that hold a scale and zero point, each with the name of its activation."""
    places = ((meta, "output"), (meta.get("quantizer", {}), "input"))
    return [(place, name) for place, name in places if "scale" in place]


def _form_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if name not in ("scale", "zero_point")}
