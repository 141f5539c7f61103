"""Convolutions answer in ``channels_last`` where the model's code takes that, else in the input's format."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ilit_pytorch.artefact import files


class Net(torch.nn.Module):
    """Two convolutions and a head that takes what they give in the way that ``end`` says."""

    def __init__(self, end: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 4, 3, padding=1)
        self.head, self.end = torch.nn.Linear(4 * 64, 5), end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.end(self.second(y.relu() + y))


def headed(net: Net) -> Net:
    """Let the head read what ``end`` gives."""
    end = net.end
    net.end = lambda y: net.head(end(y))
    return net


TAKEN = {
    "flatten": lambda y: y.flatten(1),
    "reshape": lambda y: y.reshape(len(y), -1),
    "pooled": lambda y: y.amax((2, 3)).repeat(1, 64),
}
REFUSED: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "view": (lambda y: y.view(len(y), -1), "in channels_last the forward raises RuntimeError"),
    "memory": (lambda y: y.as_strided((len(y), 256), (256, 1)), "in channels_last the model answers differently"),
}


@pytest.fixture
def made(bench: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """Return a function that gives a net's bench and it in INT8."""

    def make(net: Net, rows: int = 6) -> tuple[Any, Any]:
        subject = bench(net, torch.randn(rows, 3, 8, 8))
        return subject, subject.lower(static=subject.ops)

    return make


def formats(model: Any, x: torch.Tensor) -> list[bool]:
    """Return whether each of the two convolutions gives what lies channels last, and nothing else."""
    found: list[bool] = []
    for conv in (model.first, model.second):
        conv.register_forward_hook(
            lambda _module, _args, y: found.append(
                y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
            )
        )
    with torch.no_grad():
        model(x)
    return found


@pytest.mark.parametrize("name", TAKEN)
def test_a_model_that_takes_it_is_given_it(made: Callable[..., Any], tmp_path: Path, name: str) -> None:
    """The answers are the INT8 model's in any format; so are those of a model read from files, and of copies."""
    subject, lowered = made(headed(Net(TAKEN[name])))
    plain = copy.deepcopy(lowered)
    for conv in (plain.first, plain.second):
        conv.channels_last = False
    np.testing.assert_allclose(subject.run(lowered), subject.run(plain), rtol=1e-5, atol=1e-6)
    files.save(lowered, tmp_path)
    loaded = files.load(tmp_path, subject.model)
    assert np.array_equal(subject.run(loaded), subject.run(lowered))
    for model in (lowered, loaded):
        assert formats(copy.deepcopy(model), subject.inputs) == [True, True]
    assert formats(plain, subject.inputs) == [False, False]


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_asks_for_its_own_format_has_it(
    made: Callable[..., Any], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The log says what was in the way."""
    end, reason = REFUSED[name]
    with caplog.at_level(logging.INFO, "ilit.pytorch"):
        subject, lowered = made(headed(Net(end)))
    assert reason in caplog.text
    assert formats(lowered, subject.inputs) == [False, False]
    assert subject.close(lowered, 0.1)


def test_answers_lie_in_memory_as_they_did(made: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """Whoever calls the model may view them."""
    with caplog.at_level(logging.INFO, "ilit.pytorch"):
        subject, lowered = made(Net(lambda y: y))
    assert "the model's own answers would lie in memory in another order" in caplog.text
    assert lowered(subject.inputs).is_contiguous()


def test_an_input_in_channels_last_is_answered_in_it(made: Callable[..., Any]) -> None:
    """As the float model does."""
    subject, lowered = made(Net(lambda y: y))
    x = subject.inputs.contiguous(memory_format=torch.channels_last)
    assert lowered(x).is_contiguous(memory_format=torch.channels_last)


def test_a_single_image_without_batch_axis_runs(bench: Callable[..., Any]) -> None:
    """There is no such format for it."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(0))
    subject = bench(net, torch.randn(3, 8, 8))
    assert subject.close(subject.lower(static=["0"]), 0.1)


def test_other_ops_say_nothing_of_it(nets: Any, bench: Callable[..., Any]) -> None:
    """A model of Linears, or of convolutions of one axis, is as it was."""
    for net, shape in ((nets.mlp(), (6, 8)), (torch.nn.Sequential(torch.nn.Conv1d(3, 4, 3)), (6, 3, 8))):
        assert "channels_last" not in bench(net, torch.randn(shape)).calibration.structure.to_json()
