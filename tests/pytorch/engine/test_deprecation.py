"""Nobody who runs ilit or an INT8 model with warnings as errors is stopped by what torch has deprecated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

PROLOGUE = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize
from ilit_pytorch.adapter import PyTorchAdapter
from torch.ao.quantization import DeQuantStub, QuantStub

class Stubbed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.conv, self.norm, self.head = torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 3)
        self.plus = torch.ao.nn.quantized.FloatFunctional()
    def forward(self, x):
        x = self.norm(self.conv(self.quant(x)))
        return self.head(self.dequant(self.plus.add(x, x)).mean((2, 3)))

STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel", "minmax", 7), QuantSpec("uint8"))
plain = lambda: torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
conv = lambda: torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 3)).eval()
stubbed = lambda: Stubbed().eval()

def int8(make, x, config=STATIC):
    adapter, model = PyTorchAdapter(), make()
    space = replace(adapter.describe(model, (x, None)), calibrations=(CalibrationSize(1, "batches"),))
    calibration = adapter.calibrate(model, [(x, None)], space)
    lowered = adapter.lower(model, Recipe(dict.fromkeys(space.ops, config), "1 batches"), calibration)
    with torch.no_grad():
        lowered(x)
    return adapter, lowered

flat, image = torch.randn(16, 8), torch.randn(4, 1, 8, 8)
folder = Path(sys.argv[1])
"""
WAYS = {
    "without stubs": """
int8(plain, flat)
int8(plain, flat, replace(STATIC, approach="dynamic"))
int8(conv, image)
PyTorchAdapter().cpu()
""",
    "convolution first": "int8(conv, image)",
    "stubs first, then files": """
int8(stubbed, image)
for make, x in ((plain, flat), (conv, image), (stubbed, image)):
    adapter, lowered = int8(make, x)
    adapter.save(lowered, folder)
    adapter.load(folder, model=make())(x)
import pickle
pickle.loads(pickle.dumps(lowered))(image)
""",
}
"""What may be the first to make one of torch's quantized tensors differs from CPU to CPU, so each begins a process."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Return a process for each way, all at work at once, since each takes its time to import torch."""
    processes = {}
    for way, code in WAYS.items():
        command = [sys.executable, "-W", "error", "-c", PROLOGUE + code, str(tmp_path_factory.mktemp("saved"))]
        processes[way] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own text
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("way", WAYS)
def test_a_process_with_warnings_as_errors_runs_to_its_end(running: Any, way: str) -> None:
    """A fresh one, in which no other test has heard a warning that torch gives once."""
    _, told = running[way].communicate()
    assert (running[way].returncode, told) == (0, "")
