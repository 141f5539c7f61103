"""Real images through ``ilit.Tuner``: scikit-learn's digits, a net without stubs and one with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

import ilit

EPOCHS, ROWS, TRAINED = 6, 64, 1200


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return 1,797 images (rows, 1, 8, 8) in 0..1 and their labels."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)


def trained(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.nn.Module:
    """Train on the first rows."""
    torch.manual_seed(9527)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=0.01)
    for _ in range(EPOCHS):
        for batch in torch.randperm(TRAINED).split(ROWS):
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def batches(images: torch.Tensor, labels: torch.Tensor) -> list[Any]:
    """Return (images, labels) in batches."""
    return list(zip(images.split(ROWS), labels.split(ROWS), strict=True))


@pytest.mark.parametrize("stubs", [False, True], ids=["without stubs", "with stubs and fused modules"])
def test_both_nets_pass_at_one_percent(
    digits: tuple[torch.Tensor, torch.Tensor], nets: Any, stubs: bool, tmp_path: Path
) -> None:
    """At 1 % relative each net gives an INT8 model; the stubbed one is INT8 between its stubs."""
    images, labels = digits
    model = trained(nets.StubbedConvNet() if stubs else nets.conv_net(32), images, labels)
    model = model.fused() if stubs else model.eval()  # type: ignore[operator]  # it is a StubbedConvNet
    tuner = ilit.Tuner(
        {
            "framework": {"name": "pytorch"},
            "calibration": {"samples": 128},
            "tuning": {
                "metric": "accuracy",
                "accuracy_criterion": {"relative": 0.01},
                "objective": "modelsize",  # which net is faster is the machine's affair, and too near for a test
                "max_trials": 10,
            },
            "run": {"folder": str(tmp_path)},
        }
    )
    tuned = tuner.tune(model, batches(images[:256], labels[:256]), batches(images[TRAINED:], labels[TRAINED:]))
    assert tuner.result is not None
    assert tuner.result.baseline > 0.9
    assert tuned is not None, tuner.result.reason
    assert tuner.result.met
    if stubs:
        assert quantized_outputs(tuned, images[:4])


def quantized_outputs(model: torch.nn.Module, images: torch.Tensor) -> list[str]:
    """Return the paths of modules that hand on quantized tensors."""
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        return lambda _module, _args, output: found.append(name) if output.is_quantized else None

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules()]
    model(images)
    for handle in handles:
        handle.remove()
    return found
