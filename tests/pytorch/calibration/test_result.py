"""Statistics of calibration: saved, known by their digest, and turned into scales and zero points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open

from ilit.errors import LoweringError
from ilit.recipe import QuantSpec
from ilit_pytorch.quantization.smoothing import Smoothing


def test_the_file_holds_what_the_digest_is_of(bench: Callable[..., Any], nets: SimpleNamespace, tmp_path: Any) -> None:
    """Channel ranges and means are in the file, and another mean is another digest."""
    from safetensors.numpy import load_file

    subject = bench(nets.mlp(), torch.randn(30, 8))
    subject.calibration.save(tmp_path / "c.safetensors")
    assert "1 batches/0:in/channel_mean" in load_file(tmp_path / "c.safetensors")
    before = subject.calibration.digest
    subject.calibration.seen["1 batches"].channels["0:in"].total += 1
    assert subject.calibration.digest != before


def test_the_file_says_its_version(bench: Callable[..., Any], nets: SimpleNamespace, tmp_path: Any) -> None:
    """The one that the CHANGELOG names."""
    bench(nets.mlp(), torch.randn(30, 8)).calibration.save(tmp_path / "calibration.safetensors")

    with safe_open(tmp_path / "calibration.safetensors", "pt") as file:
        assert file.metadata()["version"] == "3"


def test_parameters_cover_what_was_seen(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Of an activation divided by a smoothing they are those of its channels, exactly."""
    inputs = torch.randn(30, 8) * torch.arange(1.0, 9.0)
    calibration, spec = bench(nets.mlp(), inputs).calibration, QuantSpec("uint8", "asym")
    plain = calibration.params("1 batches", "0:in", spec)
    assert plain.scale == pytest.approx(float(inputs.max() - inputs.min()) / 255)
    smoothing = Smoothing(torch.arange(1.0, 9.0), torch.zeros(8))
    even = inputs / torch.arange(1.0, 9.0)
    assert calibration.params("1 batches", "0:in", spec, smoothing).scale == pytest.approx(
        float(even.max() - even.min()) / 255
    )


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "an activation": (("1 batches", "9:in", "minmax", False), "calibration of 1 batches has not seen 9:in"),
    "a size": (("2 batches", "0:in", "minmax", False), "calibration of 2 batches has not seen 0:in"),
    "smoothed, not by minmax": (("1 batches", "0:in", "kl", True), "smoothing takes the range of minmax, not of kl"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_calibration_has_not_seen_is_named(bench: Callable[..., Any], nets: SimpleNamespace, name: str) -> None:
    """Nothing is made up for it."""
    (size, activation, algorithm, smoothed), text = REFUSED[name]
    spec = replace(QuantSpec("uint8", "asym"), algorithm=algorithm)
    smoothing = Smoothing(torch.ones(8), torch.zeros(8)) if smoothed else None
    with pytest.raises(LoweringError, match=text):
        bench(nets.mlp(), torch.randn(30, 8)).calibration.params(size, activation, spec, smoothing)
