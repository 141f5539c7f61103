"""What the files of an artefact will hold, before they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit.errors import ArtefactError
from ilit_pytorch.artefact.content import content_of


def test_codes_stand_under_their_module_and_a_guard_under_the_float_weight(
    bench: Callable[..., Any], nets: Any
) -> None:
    """Whoever reads the file as a float checkpoint meets an empty tensor; ops in float are there as they are."""
    content = content_of(bench(nets.mlp(), torch.randn(16, 8)).lower(static=["0"]))
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in content.tensors.items()}
    assert shapes == {
        "0::weight": (torch.int8, (16, 8)), "0::weight_scale": (torch.float32, (16,)),
        "0::bias": (torch.float32, (16,)), "0.weight": (torch.float32, (0,)),
        "3.weight": (torch.float32, (3, 16)), "3.bias": (torch.float32, (3,)),
    }  # fmt: skip
    assert content.recipe["guards"] == ["0.weight"]
    assert [(entry["path"], entry["kind"]) for entry in content.recipe["modules"]] == [("0", "linear")]


def test_a_parameter_in_two_places_is_stored_once(bench: Callable[..., Any], nets: Any) -> None:
    """The second place is named beside the first."""
    content = content_of(bench(nets.TiedEmbedding(), torch.randint(0, 12, (6, 5))).lower(static=["hidden"]))
    assert content.recipe["aliases"] == {"decoder.weight": "embed.weight"}
    assert "decoder.weight" not in content.tensors


def test_nothing_of_it_asks_for_a_gradient(stubbed: Any) -> None:
    """Not the parameters either that their owner has thawed."""
    content = content_of(stubbed.lower(static=["conv1"]).requires_grad_())
    assert not any(tensor.requires_grad for tensor in content.tensors.values())


def test_a_model_that_was_not_lowered_has_none() -> None:
    """The line says what can be saved."""
    with pytest.raises(ArtefactError, match=r"Linear was not lowered by ilit; save what tune\(\) returned"):
        content_of(torch.nn.Linear(2, 2))
