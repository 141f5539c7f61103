"""Entries of a state dict are made of a module's parts, and read back to them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from ilit_pytorch.module_parts.state_entries import FORM, entries_of, misfit, misfit_numbers, parts_from

QUANTIZER = {"scale": (0.1).hex(), "zero_point": 7, "max_code": 255}


def parts(scale: float = 0.1, post_op: str = "none", out: int = 3) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the parts of a static Linear."""
    meta = {"quantizer": {**QUANTIZER, "scale": scale.hex()}, "post_op": post_op}
    return meta, {"weight": torch.ones(out, 4, dtype=torch.int8), "weight_scale": torch.ones(out)}


def test_parts_come_back_to_the_bit() -> None:
    """Scales and zero points included, which a module of the same form need not share; no memory is shared."""
    meta, tensors = parts(scale=0.3)
    entries = entries_of("linear", meta, tensors)
    assert set(entries) == {"weight", "weight_scale", "input_scale", "input_zero_point", FORM}
    found_meta, found = parts_from(parts(scale=0.1)[0], tensors, entries)
    assert found_meta == meta
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert found["weight"].data_ptr() != entries["weight"].data_ptr()


def test_without_tensors_and_ranges_there_is_nothing() -> None:
    """As of a stub."""
    assert entries_of("shared_source", {}, {}) == {}


MISFITS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another post-op": ({"post_op": "relu"}, {}, "the state is of another recipe"),
    "another size": ({"out": 5}, {}, r"weight is torch.int8 \(5, 4\), this INT8 module has torch.int8 \(3, 4\)"),
    "another dtype": ({}, {"weight": torch.ones(3, 4)}, "weight is torch.float32 on cpu"),
    "no tensor": ({}, {"weight": 3}, "weight is a int"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_entries_of_another_module_do_not_fit(name: str) -> None:
    """The reason names the module and the entry."""
    form, changes, text = MISFITS[name]
    given = {**entries_of("linear", *parts(**form)), **changes}
    found = misfit("head", entries_of("linear", *parts()), given)
    assert found.startswith("head: ")
    assert re.search(text, found)


def test_the_same_form_fits_whatever_its_numbers() -> None:
    """Those are checked apart, for what can run here."""
    assert misfit("head", entries_of("linear", *parts(0.1)), entries_of("linear", *parts(0.2))) == ""
    assert misfit_numbers("head", "linear", parts()) == ""
    assert "a scale is 0.0" in misfit_numbers("head", "linear", parts(scale=0.0))
