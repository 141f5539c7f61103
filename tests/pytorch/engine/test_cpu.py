"""CPU classes: what is safe, and that on class A no candidate saturates, shown on a CPU made to be one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from ilit_pytorch.engine import cpu

CLASS_A = r"""
import itertools, json, torch
from dataclasses import replace
from torch.ao.quantization import DeQuantStub, QuantStub
from ilit.recipe import FLOAT32, Recipe
from ilit.space import CalibrationSize
from ilit_pytorch.engine import cpu
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.modules.island import IslandOp
from ilit_pytorch.quantization.qparams import max_activation_code, max_weight_code

torch.manual_seed(0)
torch.set_num_threads(1)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = torch.nn.Conv2d(16, 8, 3), torch.nn.Linear(72, 6)
        self.quant, self.inside, self.dequant = QuantStub(), torch.nn.Linear(72, 6), DeQuantStub()
    def forward(self, x):
        x = self.conv(x).abs().flatten(1)
        return self.fc(x) + self.dequant(self.inside(self.quant(x)))

model, adapter = Net().eval(), PyTorchAdapter()
with torch.no_grad():  # all weights of one sign and size, all activations high: what saturates most
    for parameter in model.parameters():
        parameter.copy_(parameter.abs() * 0 + 1.0 + 0.01 * torch.rand_like(parameter))
data = torch.rand(4, 16, 5, 5) + 1.0
space = adapter.describe(model, (data, None))
space = replace(space, calibrations=(CalibrationSize(1, "batches"),))
calibration = adapter.calibrate(model, [(data, None)], space)

unsafe, worst, pairs = [], 0.0, set()
for op in space.ops.values():
    bits = {}
    for config in op.candidates:
        if config.quantized:
            clamped_at_255 = op.name == "inside" and config.approach == "static"
            top = max_activation_code(8 if clamped_at_255 else config.activation.bits)
            if not cpu.is_safe(top, max_weight_code(config.weight.bits)):
                unsafe.append(op.name + " " + str(config))
            bits.setdefault((config.approach, config.weight.bits, config.activation.bits), config)
    for (approach, *pair), config in bits.items():
        pairs.add((op.kind, op.name == "inside", approach, *pair))
        recipe = Recipe({n: config if n == op.name else FLOAT32 for n in space.ops}, "1 batches")
        lowered = adapter.lower(model, recipe, calibration)
        module = lowered.get_submodule(op.name)
        def compare(m, args, out):
            global worst
            x, = args
            weight = m.tensors()["weight"].double()
            if isinstance(m, IslandOp):
                codes, scale, zero = x.int_repr(), x.q_scale(), x.q_zero_point()
            else:
                codes, scale, zero = m.quantizer(x)
            total = (codes.double() - zero)
            function = torch.nn.functional.conv2d if weight.ndim == 4 else torch.nn.functional.linear
            exact = function(total, weight)
            shape = (-1, 1, 1) if weight.ndim == 4 else (-1,)
            exact = exact * scale * m.weight_scale.double().reshape(shape) + m.bias.double().reshape(shape)
            if isinstance(m, IslandOp):
                step, wanted = m.params.scale, (exact / m.params.scale).round().add(m.params.zero_point).clamp(0, 255)
                worst = max(worst, float((out.int_repr().double() - wanted).abs().max()) - 1.0)  # a half either way
            else:
                worst = max(worst, float((out.double() - exact).abs().max() / exact.abs().max()))
        module.register_forward_hook(compare)
        with torch.no_grad():
            lowered(2 * data)
found = {"class": cpu.int8_class(), "isa": cpu.isa(), "unsafe": unsafe, "worst": worst, "pairs": sorted(pairs)}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def class_a() -> dict[str, Any]:
    """Return what a process finds whose oneDNN is held to AVX2."""
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", CLASS_A], env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_cpu_held_to_avx2_is_class_a(class_a: dict[str, Any]) -> None:
    """The class follows the code that runs, not the silicon."""
    assert class_a["class"] == "A"
    assert class_a["isa"] == "avx2"


def test_on_class_a_no_candidate_can_saturate(class_a: dict[str, Any]) -> None:
    """Every candidate of every op keeps pairs of products within 16 bits; islands use 7-bit weights only."""
    assert class_a["unsafe"] == []
    island = {(weight, activation) for _, inside, approach, weight, activation in class_a["pairs"]
              if inside and approach == "static"}  # fmt: skip
    assert island == {(7, 8)}
    linear = {tuple(bits) for kind, inside, _, *bits in class_a["pairs"] if kind == "linear" and not inside}
    assert linear == {(7, 8), (8, 7), (7, 7)}


def test_twice_the_calibrated_range_stays_exact(class_a: dict[str, Any]) -> None:
    """Inputs far beyond calibration give exact integer sums for every pair of bits, approach and place."""
    assert class_a["worst"] < 1e-6


@pytest.mark.parametrize(
    ("activation", "weight", "safe"),
    [(255, 63, True), (127, 127, True), (255, 64, True), (255, 65, False), (255, 127, False), (254, 127, False)],
)
def test_what_is_safe(activation: int, weight: int, safe: bool) -> None:
    """Two products at their largest fit 16 bits, or not."""
    assert cpu.is_safe(activation, weight) is safe
    assert (activation * weight * 2 <= 2**15 - 1) is safe


def test_the_cpu_describes_itself() -> None:
    """Model, instruction set, class and threads go into header and artefact."""
    here = cpu.describe()
    assert here.model
    assert here.isa
    assert here.int8_class == ("A" if cpu.onednn_saturates() or cpu.torch_quantized_saturates() else "V")
    assert here.threads == 1


def test_the_environment_limits_the_isa(monkeypatch: pytest.MonkeyPatch) -> None:
    """What oneDNN was told counts."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert cpu.isa() == "avx2"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "ALL")
    assert cpu.isa() in {"amx_int8", "avx512_vnni", "avx2_vnni", "avx512", "avx2", "default"}
