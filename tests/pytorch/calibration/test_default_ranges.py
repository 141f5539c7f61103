"""An input that calibration saw nothing of keeps its values' size in INT8."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ilit.recipe import Recipe
from ilit.space import CalibrationSize
from ilit_pytorch.adapter import PyTorchAdapter


def off(found: Any, wanted: Any) -> float:
    """Return the distance as a share of what is wanted."""
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("algorithm", ["minmax", "kl", "percentile", "mse"])
@pytest.mark.parametrize("scheme", ["asym", "sym"])
@pytest.mark.parametrize("amount", [0.0, 1e-9, 1e-40])
def test_an_input_of_zeros_does_not_die(
    bench: Callable[..., Any],
    nets: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
    amount: float,
    scheme: str,
    algorithm: str,
) -> None:
    """Values that come later are rounded and not cut off, under every algorithm; the log names the input."""
    model = nets.TwoInputs()
    with caplog.at_level(logging.WARNING, "ilit.pytorch"):
        subject = bench(model, (torch.randn(60, 4) * amount, torch.randn(60, 6)))
    (line,) = [r.getMessage() for r in caplog.records if "nothing but zeros" in r.getMessage()]
    assert "left:in (now -" in line
    assert "right:in" not in line
    spec = replace(nets.STATIC.activation, scheme=scheme, algorithm=algorithm)
    lowered = subject.lower(left=replace(nets.STATIC, activation=spec))
    for size in (0.5, 1.0, 2.0):
        later = torch.randn(200, 4) * size, torch.zeros(200, 6)
        with torch.no_grad():
            assert off(lowered(*later)[0], model(*later)[0]) < 0.1


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_how_wide_the_range_is_the_weight_says(bench: Callable[..., Any], nets: SimpleNamespace, scale: float) -> None:
    """A weight that is a thousand times as small expects inputs a thousand times as large."""
    model = nets.TwoInputs()
    with torch.no_grad():
        model.left.weight /= scale
    subject = bench(model, (torch.zeros(9, 4), torch.randn(9, 6)))
    later = torch.randn(200, 4) * scale, torch.zeros(200, 6)
    lowered = subject.lower(static=["left"])
    with torch.no_grad():
        assert off(lowered(*later)[0], model(*later)[0]) < 0.1


def test_a_small_range_that_is_one_stays(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Inputs a thousandth of the usual size are quantized by their own range."""
    model, small = nets.TwoInputs(), (torch.randn(300, 4) * 1e-3, torch.zeros(300, 6))
    with torch.no_grad():
        model.left.bias.zero_()
        model.right.bias.zero_()
        found = bench(model, small).lower(static=["left"])(*small)[0]
        assert off(found, model(*small)[0]) < 0.02


def test_smoothing_of_what_was_never_seen_changes_nothing(bench: Callable[..., Any], nets: SimpleNamespace) -> None:
    """Without channels to even out the op is what it is without smoothing."""
    subject = bench(nets.TwoInputs(), (torch.zeros(9, 4), torch.randn(9, 6)))
    later = torch.randn(50, 4), torch.randn(50, 6)
    plain, smoothed = (subject.lower(left=replace(nets.STATIC, smoothing=s)) for s in (0.0, 0.8))
    with torch.no_grad():
        assert off(smoothed(*later)[0], plain(*later)[0]) < 1e-6


def test_islands_keep_a_usual_range(stubbed: Any, nets: SimpleNamespace, bench: Callable[..., Any]) -> None:
    """Between torch's stubs an image of zeros does not make the scale nothing either."""
    calibration = bench(stubbed.model, torch.zeros(4, 1, 8, 8)).calibration
    assert calibration.params("1 batches", "quant:out", nets.STATIC.activation).scale > 0.01


class Experts(torch.nn.Module):
    """Rows go to the expert that their first feature names; one without rows is skipped, or given none."""

    def __init__(self, skips: bool, count: int = 4) -> None:
        super().__init__()
        self.experts = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(count))
        self.head, self.skips = torch.nn.Linear(6, 2), skips

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, chosen = torch.zeros_like(x), x[:, 0].long()
        for number, expert in enumerate(self.experts):
            if not self.skips or bool((chosen == number).any()):
                out[chosen == number] = expert(x[chosen == number])
        return self.head(out)


def to(*experts: int, rows: int = 12) -> Any:
    """Return a batch whose rows go to these experts in turn."""
    x = torch.randn(rows, 6)
    x[:, 0] = torch.tensor(experts).repeat(rows)[:rows] + 0.1
    return x, torch.zeros(rows)


@pytest.mark.parametrize("skips", [True, False])
def test_a_smaller_size_takes_from_the_next_larger_what_it_has_not_seen(nets: SimpleNamespace, skips: bool) -> None:
    """An expert that comes late has in recipes of the smaller sizes the range of the first size that has it."""
    model, adapter = Experts(skips).eval(), PyTorchAdapter()
    data = [to(0, 1), to(0, 2), to(3, 2)]
    sizes = tuple(CalibrationSize(count, "batches") for count in (3, 1, 2))
    space = replace(adapter.describe_all(model, data, sizes), calibrations=sizes)
    assert len(space.ops) == 5
    calibration = adapter.calibrate(model, data, space)
    ranges = {n: [calibration.seen[f"{s} batches"].stats[f"experts.{n}:in"] for s in (1, 2, 3)] for n in range(4)}
    assert [r.high for r in ranges[3]] == [float(data[2][0][::2].max())] * 3
    assert ranges[2][0].high == ranges[2][1].high == float(data[1][0][1::2].max())
    assert ranges[0][0].high == float(data[0][0][::2].max())
    for size in sizes:
        lowered = adapter.lower(model, space.recipe(dict.fromkeys(space.ops, nets.STATIC), str(size)), calibration)
        with torch.no_grad():
            assert all(off(lowered(x), model(x)) < 0.3 for x, _ in data)


def test_an_expert_that_this_pass_misses_is_given_a_usual_range(nets: SimpleNamespace) -> None:
    """A loader that shuffles may show calibration less than the space was made of: recipes and probes are had."""
    model, adapter, size = Experts(skips=False).eval(), PyTorchAdapter(), CalibrationSize(2, "batches")
    space = replace(adapter.describe_all(model, [to(0, 1), to(2, 3)], [size]), calibrations=(size,))
    calibration = adapter.calibrate(model, [to(0, 1)] * 2, space)
    for config in (nets.STATIC, replace(nets.STATIC, smoothing=0.6)):
        recipe = Recipe(dict.fromkeys(space.ops, config), str(size), {"bias_correction": True})
        lowered, x = adapter.lower(model, recipe, calibration), to(2, 3)[0]
        with torch.no_grad():
            assert off(lowered.experts[2](x), model.experts[2](x)) < 0.1
        assert adapter.probe_ops(model, recipe, calibration)["experts.2"] == 0.0
        assert adapter.probe(model, [recipe], calibration)[0] < 0.1
        assert "experts.2" not in adapter.time_ops(model, recipe, calibration)


def test_rows_are_kept_of_an_op_that_few_batches_reach() -> None:
    """What earlier batches have not given is made up for as soon as an op is reached."""
    model, adapter, size = Experts(skips=True).eval(), PyTorchAdapter(), CalibrationSize(32, "batches")
    data = [to(0, rows=40)] * 31 + [to(1, 2, rows=100)]
    space = replace(adapter.describe_all(model, data, [size]), calibrations=(size,))
    calibration = adapter.calibrate(model, data, space)
    filled = {name: calibration.channels(str(size), f"{name}:in").filled for name in ("experts.0", "experts.1", "head")}
    assert filled == {"experts.0": 124, "experts.1": 50, "head": 128}
