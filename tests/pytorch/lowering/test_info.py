"""What a lowered model says of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from ilit_pytorch.lowering.info import int8_kernels, lowered_modules, say_in_config


def test_its_modules_are_those_that_lowering_put_there(stubbed: Any) -> None:
    """By the paths and kinds that it names; a float op inside a wrapper is not counted again."""
    lowered = stubbed.lower(static=["conv1", "conv3"], dynamic=["head"])
    assert [lowered.get_submodule(path) for path in lowered.ilit.paths] == lowered_modules(lowered)
    assert [module.kind for module in lowered_modules(lowered)] == list(lowered.ilit.paths.values())
    assert int8_kernels(lowered) == 3


def test_a_float_model_has_none() -> None:
    """Neither modules nor kernels."""
    model = torch.nn.Linear(2, 2)
    assert (lowered_modules(model), int8_kernels(model)) == ([], 0)


def test_only_a_config_that_transformers_saves_is_written_to() -> None:
    """A plain object named ``config`` is the owner's matter."""
    ours = SimpleNamespace(config=SimpleNamespace(to_json_string=str))
    theirs = SimpleNamespace(config=SimpleNamespace())
    for model in (ours, theirs, SimpleNamespace()):
        say_in_config(model)
    assert ours.config.quantization_config == {"quant_method": "ilit"}
    assert not hasattr(theirs.config, "quantization_config")
