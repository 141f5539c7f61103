"""Small torch models, data for them, and what a test needs to lower and compare them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub, fuse_modules
from torch.ao.quantization import QuantStub as TorchQuantStub

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize
from ilit_pytorch import Accuracy, MeanSquaredError, QuantStub
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.artefact.integrity import json_digest
from ilit_pytorch.calibration.result import TorchCalibration
from ilit_pytorch.quantization.observers import ActivationStats

STATIC = OpConfig(
    "int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8", "asym", bits=8)
)
"""7-bit weights and 8-bit activations: exact on every class of CPU, in islands too."""
DYNAMIC = replace(STATIC, approach="dynamic")


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> Iterator[None]:
    """Give every test the same random numbers, and leave cores to other processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(9527)
    yield
    torch.set_num_threads(threads)


class SharedReaders(torch.nn.Module):
    """Three Linears behind one of ilit's stubs, as query, key and value of attention are."""

    def __init__(self) -> None:
        super().__init__()
        self.stub = QuantStub()
        self.query, self.key, self.value = (torch.nn.Linear(8, 8) for _ in range(3))
        self.out = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shared = self.stub(x)
        query, key, value = self.query(shared), self.key(shared), self.value(shared)
        return self.out(torch.softmax(query * key, dim=-1) * value)


class TwoInputs(torch.nn.Module):
    """Takes two tensors, by position or by name, and gives a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = torch.nn.Linear(4, 3), torch.nn.Linear(6, 3)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.left(left) + self.right(right),)


class TiedEmbedding(torch.nn.Module):
    """A language model in miniature: the decoder's weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.hidden = torch.nn.Embedding(12, 8), torch.nn.Linear(8, 8)
        self.decoder = torch.nn.Linear(8, 12)
        self.decoder.weight = self.embed.weight
        self.register_buffer("offset", torch.randn(8), persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.tanh(self.hidden(self.embed(ids) + self.offset))).mean(dim=1)


class StubbedConvNet(torch.nn.Module):
    """A residual net for torch's eager mode: stubs, FloatFunctional, fused modules, a GELU besides."""

    def __init__(self, classes: int = 10, width: int = 8) -> None:
        super().__init__()
        self.quant, self.dequant = TorchQuantStub(), DeQuantStub()
        self.conv1, self.norm1, self.relu1 = self._block(1, width)
        self.conv2, self.norm2, self.relu2 = self._block(width, width)
        self.conv3 = torch.nn.Conv2d(width, width, 3, padding=1, groups=2)
        self.plus, self.norm3, self.gelu = FloatFunctional(), torch.nn.BatchNorm2d(width), torch.nn.GELU()
        self.pool, self.average = torch.nn.MaxPool2d(2), torch.nn.AdaptiveAvgPool2d(2)
        self.flatten, self.dropout = torch.nn.Flatten(), torch.nn.Dropout(0.1)
        self.head = torch.nn.Linear(4 * width, classes)

    @staticmethod
    def _block(inner: int, outer: int) -> tuple[torch.nn.Module, ...]:
        return torch.nn.Conv2d(inner, outer, 3, padding=1), torch.nn.BatchNorm2d(outer), torch.nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.norm1(self.conv1(self.quant(x))))
        y = self.relu2(self.norm2(self.conv2(x)))
        y = self.pool(self.norm3(self.plus.add(x, self.conv3(y))))
        y = self.dropout(self.flatten(self.average(self.gelu(y))))
        return self.dequant(self.head(y))

    def fused(self) -> StubbedConvNet:
        """Return it with both blocks fused by torch, in eval mode."""
        return fuse_modules(self.eval(), [["conv1", "norm1", "relu1"], ["conv2", "norm2", "relu2"]])


def mlp() -> torch.nn.Module:
    """Return two Linears."""
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(16, 3))


def transposed() -> torch.nn.Module:
    """Return two of transformers' Linears whose weights are (in, out), as GPT-2's are."""
    from transformers.pytorch_utils import Conv1D

    return torch.nn.Sequential(Conv1D(16, 8), torch.nn.ReLU(), Conv1D(3, 16))


def conv_net(width: int = 8) -> torch.nn.Module:
    """Return two convolutions and a Linear, without stubs."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, width, 3, padding="same"), torch.nn.BatchNorm2d(width), torch.nn.ReLU(),
        torch.nn.Conv2d(width, width, 3, stride=2, groups=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(), torch.nn.Linear(4 * width, 10),
    )  # fmt: skip


def settled(model: torch.nn.Module, *shape: int) -> torch.nn.Module:
    """Run the model in train mode a few times, so that its BatchNorms have seen something."""
    with torch.no_grad():
        for _ in range(5):
            model.train()(torch.randn(16, *shape))
    return model


@dataclass(frozen=True)
class Sample:
    """A model in train mode with two batches and a metric for them."""

    model: torch.nn.Module
    batches: Sequence[Any]
    metric: Callable[[], Any]


def _labelled(make: Callable[[], Any], classes: int) -> list[Any]:
    return [(make(), torch.randint(0, classes, (6,))) for _ in range(2)]


def _two_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(6, 4), torch.randn(6, 6)


SAMPLES: dict[str, Callable[[], Sample]] = {
    "mlp": lambda: Sample(mlp(), _labelled(lambda: torch.randn(6, 8), 3), Accuracy),
    "transposed": lambda: Sample(transposed(), _labelled(lambda: torch.randn(6, 8), 3), Accuracy),
    "conv": lambda: Sample(
        settled(conv_net(), 1, 8, 8), _labelled(lambda: torch.randn(6, 1, 8, 8), 10), Accuracy
    ),
    "stubbed-conv": lambda: Sample(
        settled(StubbedConvNet(), 1, 8, 8).fused().train(),  # type: ignore[operator]  # it is a StubbedConvNet
        _labelled(lambda: torch.randn(6, 1, 8, 8), 10),
        Accuracy,
    ),
    "shared-stub": lambda: Sample(SharedReaders(), _labelled(lambda: torch.randn(6, 5, 8)[:, 0], 3), Accuracy),
    "tuple-input": lambda: Sample(TwoInputs(), _labelled(_two_inputs, 3), Accuracy),
    "dict-input": lambda: Sample(
        TwoInputs(), _labelled(lambda: dict(zip(("left", "right"), _two_inputs(), strict=True)), 3), Accuracy
    ),
    "tied-embedding": lambda: Sample(TiedEmbedding(), _labelled(lambda: torch.randint(0, 12, (6, 5)), 12), Accuracy),
    "regression": lambda: Sample(
        torch.nn.Sequential(torch.nn.Linear(8, 1)), [(torch.randn(6, 8), torch.randn(6)) for _ in range(2)],
        MeanSquaredError,
    ),
}  # fmt: skip


@pytest.fixture
def sample() -> Callable[[str], Sample]:
    """Return a function that makes the sample of a name of ``SAMPLES``."""
    return lambda name: SAMPLES[name]()


@dataclass(frozen=True)
class Bench:
    """A model in eval mode, calibrated on its own inputs."""

    model: torch.nn.Module
    inputs: Any
    calibration: TorchCalibration
    adapter: PyTorchAdapter

    @property
    def ops(self) -> tuple[str, ...]:
        """The ops' paths."""
        return tuple(self.calibration.structure.sites)

    def lower(self, static: Sequence[str] = (), dynamic: Sequence[str] = (), **others: OpConfig) -> Any:
        """Return the model with these ops in INT8, all others in float."""
        config = {**dict.fromkeys(static, STATIC), **dict.fromkeys(dynamic, DYNAMIC), **others}
        recipe = Recipe({name: config.get(name, FLOAT32) for name in self.ops}, "1 batches")
        return self.adapter.lower(self.model, recipe, self.calibration)

    def run(self, model: Any = None) -> np.ndarray:
        """Return the predictions of a lowered model, or of the float one."""
        found: np.ndarray = self.adapter.outputs(self.model if model is None else model, (self.inputs, None))
        return found

    def close(self, model: Any, share: float) -> bool:
        """Whether predictions differ from float's by less than this share of their range, at their worst."""
        wanted = self.run()
        return bool(np.abs(self.run(model) - wanted).max() <= share * np.ptp(wanted))


@pytest.fixture
def bench() -> Callable[[torch.nn.Module, Any], Bench]:
    """Return a function that describes and calibrates a model on one input."""

    def make(model: torch.nn.Module, inputs: Any) -> Bench:
        adapter, model = PyTorchAdapter(), model.eval()
        space = replace(adapter.describe(model, (inputs, None)), calibrations=(CalibrationSize(1, "batches"),))
        return Bench(model, inputs, adapter.calibrate(model, [(inputs, None)], space), adapter)

    return make


@pytest.fixture
def stubbed(bench: Callable[..., Bench]) -> Bench:
    """Return the stubbed, fused net on one batch."""
    net = settled(StubbedConvNet(), 1, 8, 8).fused()  # type: ignore[operator]  # it is a StubbedConvNet
    return bench(net, torch.randn(16, 1, 8, 8))


@pytest.fixture
def nets() -> SimpleNamespace:
    """Return this file's model classes and functions by name."""
    return SimpleNamespace(
        StubbedConvNet=StubbedConvNet, SharedReaders=SharedReaders, TiedEmbedding=TiedEmbedding, TwoInputs=TwoInputs,
        mlp=mlp, transposed=transposed, conv_net=conv_net, settled=settled, STATIC=STATIC, DYNAMIC=DYNAMIC,
    )  # fmt: skip


@pytest.fixture(scope="session")
def stats_of() -> Callable[..., ActivationStats]:
    """Return a function that gives the statistics of batches in order."""

    def make(*batches: torch.Tensor) -> ActivationStats:
        stats = ActivationStats()
        for batch in batches:
            stats.update(batch)
        return stats

    return make


@pytest.fixture(scope="session")
def normal() -> Callable[..., torch.Tensor]:
    """Return a function that gives normal values of a seed, 500 or as many as asked for."""
    return lambda seed, count=500: torch.randn(count, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def edit_recipe() -> Callable[..., None]:
    """Return a function that changes keys of an artefact's recipe.json and seals it again; None removes one."""

    def edit(folder: Path, **changes: Any) -> None:
        file = folder / "recipe.json"
        content = {key: v for key, v in {**json.loads(file.read_text()), **changes}.items() if v is not None}
        file.write_text(json.dumps({**content, "digest": json_digest(content)}))

    return edit
