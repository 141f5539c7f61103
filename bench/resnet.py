"""The speed of a ResNet-18-shaped net, unprepared: float32 beside INT8 in three forms of one recipe.

Run ``python bench/resnet.py [--rows 4] [--size 224] [--pairs 15] [--threads 2] [--channels-last]
[--cpu-time] [--profile]``. Weights are random, so that only times say something. All models take turns in one process.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch

from ilit.recipe import OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize
from ilit_pytorch import PyTorchAdapter

STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 8), QuantSpec("uint8"))
CLASS_A = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8"))
WARM_UP = 3


class Block(torch.nn.Module):
    """Two 3 x 3 convolutions around which the input is added; one ReLU module serves both places, as in torchvision."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(inner, outer, 3, stride, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(outer)
        self.conv2 = torch.nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(outer)
        self.relu = torch.nn.ReLU(inplace=True)
        self.shortcut = torch.nn.Sequential()
        if stride != 1 or inner != outer:
            down = torch.nn.Conv2d(inner, outer, 1, stride, bias=False)
            self.shortcut = torch.nn.Sequential(down, torch.nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (rows, outer, height / stride, width / stride) for (rows, inner, height, width)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return self.relu(y)


class ResNet18(torch.nn.Module):
    """The layers of ResNet-18: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1, self.relu = torch.nn.BatchNorm2d(64), torch.nn.ReLU(inplace=True)
        self.pool = torch.nn.MaxPool2d(3, stride=2, padding=1)
        widths = (64, 64, 128, 256, 512)
        blocks = (
            Block(inner if first else outer, outer, 2 if first and inner != outer else 1)
            for inner, outer in itertools.pairwise(widths)
            for first in (True, False)
        )
        self.blocks = torch.nn.Sequential(*blocks)
        self.average, self.head = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (rows, classes) for (rows, 3, height, width)."""
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        return self.head(self.average(self.blocks(x)).flatten(1))


def net(x: torch.Tensor) -> torch.nn.Module:
    """Return the net in eval mode, its BatchNorms having seen the images."""
    model = ResNet18()
    with torch.no_grad():
        for _ in range(3):
            model.train()(x)
    return model.eval()


def models(x: torch.Tensor) -> dict[str, torch.nn.Module]:
    """Return the float model and INT8 ones with all ops in INT8, by what lowering does beside."""
    adapter, model = PyTorchAdapter(), net(x)
    space = replace(adapter.describe(model, (x, None)), calibrations=(CalibrationSize(1, "batches"),))
    calibration = adapter.calibrate(model, [(x, None)], space)
    config = STATIC if adapter.cpu().int8_class == "V" else CLASS_A
    recipe = Recipe(dict.fromkeys(calibration.structure.sites, config), "1 batches")
    structure = calibration.structure
    structures = {
        "INT8, BatchNorms in float": replace(structure, folds={}, channels_last=False),
        "INT8, folded": replace(structure, channels_last=False),
        "INT8, folded, channels last": structure,
    }
    lowered = {
        name: adapter.lower(model, recipe, replace(calibration, structure=own)) for name, own in structures.items()
    }
    return {"float32": model, **lowered}


def milliseconds(
    given: dict[str, torch.nn.Module], x: torch.Tensor, pairs: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Return the times of ``pairs`` forwards of each model, in turn."""
    times: dict[str, list[float]] = {name: [] for name in given}
    with torch.no_grad():
        for turn in range(pairs + WARM_UP):
            for name, model in given.items():
                begun = clock()
                model(x)
                if turn >= WARM_UP:
                    times[name].append((clock() - begun) * 1e3)
    return times


def profile(model: Any, x: torch.Tensor) -> str:
    """Return where the time of a forward goes, by torch's functions."""
    with torch.no_grad(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(5):
            model(x)
    return str(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=40))


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, usual in (("rows", 4), ("size", 224), ("pairs", 15), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--channels-last", action="store_true", help="give images in torch.channels_last")
    parser.add_argument("--cpu-time", action="store_true", help="count the process's time, for a busy machine")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(9527)
    torch.set_num_threads(arguments.threads)
    x = torch.randn(arguments.rows, 3, arguments.size, arguments.size)
    x = x.contiguous(memory_format=torch.channels_last) if arguments.channels_last else x
    given = models(x)
    times = milliseconds(given, x, arguments.pairs, time.process_time if arguments.cpu_time else time.perf_counter)
    cpu = PyTorchAdapter().cpu()
    print(
        f"{cpu.model}, {cpu.isa}, class {cpu.int8_class}, {arguments.threads} threads; torch {version('torch')}; ",
        end="",
    )
    print(f"{arguments.rows} x 3 x {arguments.size} x {arguments.size}; {datetime.date.today()}\n")
    print("| model | ms, median | lowest | highest | speed / float32 |\n|---|---|---|---|---|")
    base = statistics.median(times["float32"])
    for name, taken in times.items():
        middle = statistics.median(taken)
        print(f"| {name} | {middle:.1f} | {min(taken):.1f} | {max(taken):.1f} | {base / middle:.2f} |")
    if arguments.profile:
        print("\n".join(profile(model, x) for model in given.values()))


if __name__ == "__main__":
    main()
