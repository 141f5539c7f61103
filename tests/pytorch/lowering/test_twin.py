"""The saturation twin: the answers of a lowered model on a CPU without VNNI, and whole in all else."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ilit.errors import ArtefactError, LoweringError
from ilit.recipe import OpConfig, QuantSpec
from ilit_pytorch import saturated_twin

IN_A_PROCESS = """
import sys, torch
from ilit_pytorch.engine import cpu
torch.set_num_threads(1)
assert cpu.onednn_saturates()
model, inputs = torch.load(sys.argv[1], weights_only=False)
with torch.no_grad():
    torch.save(model(inputs), sys.argv[2])
"""


def on_class_a(model: Any, inputs: torch.Tensor, folder: Path) -> Any:
    """Return what the lowered model itself answers where oneDNN is held to AVX2."""
    torch.save((model, inputs), folder / "model.pt")
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", IN_A_PROCESS, str(folder / "model.pt"), str(folder / "answer.pt")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own code
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "answer.pt")


@pytest.fixture
def eight_bits(nets: Any) -> Any:
    """Return a config whose codes saturate on class A."""
    return replace(nets.STATIC, weight=replace(nets.STATIC.weight, bits=8))


def saturating(model: torch.nn.Module) -> torch.nn.Module:
    """Make all weights positive and alike, so that pairs saturate."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                parameter.abs_().mul_(0.1).add_(0.2)
    return model


APPROACHES = {
    "static": lambda config: config,
    "dynamic": lambda config: replace(config, approach="dynamic"),
    "per token": lambda config: replace(
        config, approach="dynamic", activation=QuantSpec("uint8", "sym", "per_token", bits=8)
    ),
}


@pytest.mark.parametrize("approach", APPROACHES)
def test_linears_answer_as_on_class_a(approach: str, bench: Any, nets: Any, eight_bits: Any, tmp_path: Path) -> None:
    """Bit by bit, in each way of making codes; and not as exact sums do."""
    held = bench(saturating(nets.mlp()), torch.rand(40, 8) * 3)
    lowered = held.lower(**dict.fromkeys(held.ops, APPROACHES[approach](eight_bits)))
    twin = saturated_twin(lowered)
    wanted = on_class_a(lowered, held.inputs, tmp_path)
    with torch.no_grad():
        assert torch.equal(twin(held.inputs), wanted)
    assert not held.close(twin, 0.02)


def test_convolutions_answer_as_on_class_a(bench: Any, nets: Any, eight_bits: Any, tmp_path: Path) -> None:
    """Bit by bit; a single row too."""
    held = bench(saturating(nets.conv_net()), torch.rand(6, 1, 8, 8) * 3)
    lowered = held.lower(**dict.fromkeys(held.ops, eight_bits))
    twin = saturated_twin(lowered)
    with torch.no_grad():
        assert torch.equal(twin(held.inputs), on_class_a(lowered, held.inputs, tmp_path))
        assert torch.equal(twin[0](held.inputs[0]), twin[0](held.inputs)[0])


def test_safe_codes_answer_as_ever(bench: Any, nets: Any) -> None:
    """With 7-bit weights nothing saturates, and both differ by float rounding only."""
    held = bench(nets.mlp(), torch.randn(40, 8))
    lowered = held.lower(static=held.ops)
    with torch.no_grad():
        torch.testing.assert_close(saturated_twin(lowered)(held.inputs), lowered(held.inputs), rtol=1e-5, atol=1e-5)


def test_the_model_stays_and_the_twin_is_whole(bench: Any, nets: Any, eight_bits: Any) -> None:
    """Hooks, attributes, biases and casts go with it; the model given keeps its answers."""
    held = bench(saturating(nets.mlp()), torch.rand(40, 8) * 3)
    lowered = held.lower(**dict.fromkeys(held.ops, eight_bits))
    calls: list[str] = []
    lowered[0].register_forward_hook(lambda *_: calls.append("hook"))
    lowered[0].note = "mine"
    before = held.run(lowered)
    twin = saturated_twin(lowered)
    calls.clear()
    held.run(twin)
    assert (calls, twin[0].note, twin.training) == (["hook"], "mine", False)
    assert torch.equal(twin[0].bias, lowered[0].bias)
    assert torch.equal(twin[0].weight.clone(), lowered[0].weight.clone())
    assert (held.run(lowered) == before).all()
    assert (held.adapter.int8_kernels(lowered), held.adapter.int8_kernels(twin)) == (2, 0)


def test_it_is_copied_and_pickled_as_a_twin(bench: Any, nets: Any, eight_bits: Any) -> None:
    """Copies answer with the same bits; its state belongs to it alone."""
    held = bench(saturating(nets.mlp()), torch.rand(40, 8) * 3)
    lowered = held.lower(**dict.fromkeys(held.ops, eight_bits))
    twin, file = saturated_twin(lowered), io.BytesIO()
    torch.save(twin, file)
    file.seek(0)
    for again in (copy.deepcopy(twin), torch.load(file, weights_only=False)):
        again.load_state_dict(twin.state_dict())
        assert (held.run(again) == held.run(twin)).all()
    with pytest.raises(RuntimeError, match="another recipe"):
        lowered.load_state_dict(twin.state_dict())


def test_what_has_no_twin_is_refused(bench: Any, nets: Any, stubbed: Any, eight_bits: Any) -> None:
    """Each in one line with its reason: a float model, a twin, nothing in INT8, kernels that are not emulated."""
    held = bench(nets.mlp(), torch.randn(4, 8))
    twin = saturated_twin(held.lower(static=held.ops))
    inside = dict.fromkeys(stubbed.ops, eight_bits)
    mistakes = {
        "was not lowered by ilit": held.model,
        "a saturation twin already": twin,
        "no INT8 Linear or convolution": held.lower(),
        "kernels of 'island_op' are not emulated": stubbed.lower(**inside),
    }
    for reason, model in mistakes.items():
        with pytest.raises(LoweringError, match=reason) as caught:
            saturated_twin(model)
        assert "\n" not in str(caught.value)


def test_an_island_that_is_safe_stays_as_it_is(stubbed: Any) -> None:
    """With 7-bit weights torch's kernels are exact on both classes, and an op besides is emulated."""
    lowered = stubbed.lower(static=stubbed.ops[:-1], dynamic=stubbed.ops[-1:])
    twin = saturated_twin(lowered)
    assert [module.kind for module in twin.modules() if getattr(module, "kind", "").startswith("saturated")] == [
        "saturated_linear"
    ]
    assert stubbed.close(twin, 0.2)


def test_an_embedding_multiplies_no_codes(bench: Any, nets: Any, eight_bits: Any) -> None:
    """Its 8-bit codes are looked up, so it stays beside Linears that are emulated."""
    held = bench(nets.TiedEmbedding(), torch.randint(0, 12, (6, 5)))
    rows = OpConfig("int8", "weight_only", eight_bits.weight)
    twin = saturated_twin(held.lower(embed=rows, hidden=eight_bits))
    assert (twin.embed.kind, twin.hidden.kind) == ("embedding", "saturated_linear")
    assert (twin.ilit.paths["embed"], twin.ilit.paths["hidden"]) == ("embedding", "saturated_linear")
    held.run(twin)


def test_it_is_no_artefact(bench: Any, nets: Any, tmp_path: Path) -> None:
    """It would be loaded as what it is not for."""
    held = bench(nets.mlp(), torch.randn(4, 8))
    with pytest.raises(ArtefactError, match="for scores alone"):
        held.adapter.save(saturated_twin(held.lower(static=held.ops)), tmp_path)
