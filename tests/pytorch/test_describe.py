"""What is offered to the search."""

from __future__ import annotations

import pytest
import torch

from ilit.recipe import FLOAT32, OpConfig
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.cpu import is_safe
from ilit_pytorch.describe import STRENGTHS, candidates
from ilit_pytorch.qparams import max_activation_code, max_weight_code
from ilit_pytorch.trace import Site


@pytest.mark.parametrize("saturates", [False, True], ids=["class V", "class A"])
@pytest.mark.parametrize("island", [-1, 0], ids=["outside", "island"])
@pytest.mark.parametrize("kind", ["linear", "conv2d", "embedding"])
def test_every_offer_is_safe_and_can_be_run(kind: str, island: int, saturates: bool) -> None:
    """No pair of codes overflows on a CPU that saturates; smoothing and tokens only where they have a meaning."""
    found = candidates(Site(kind, island=island), saturates, bfloat16=True)
    assert found[-1] == FLOAT32
    assert len(set(found)) == len(found)
    for config in (c for c in found if c.quantized):
        if config.smoothing:
            assert (kind, island, config.approach) == ("linear", -1, "static")
            assert config.activation is not None
            assert config.activation.algorithm == "minmax"
        if config.activation is None or config.weight is None:
            assert kind == "embedding"
            continue
        if config.activation.granularity == "per_token":
            assert (kind, config.approach, config.activation.scheme) == ("linear", "dynamic", "sym")
        in_island = island >= 0 and config.approach == "static"
        top = max_activation_code(8 if in_island else config.activation.bits)
        assert not saturates or is_safe(top, max_weight_code(config.weight.bits))
    strengths = {config.smoothing for config in found}
    assert strengths == ({0.0, *STRENGTHS} if (kind, island) == ("linear", -1) else {0.0})
    assert (OpConfig("bfloat16") in found) == ((kind, island) == ("linear", -1))


def test_readers_of_a_stub_are_one_group(sample) -> None:  # type: ignore[no-untyped-def]  # a fixture of conftest
    """Strategies are told which ops read one input; bias correction is offered where an op has a bias."""
    one = sample("shared-stub")
    space = PyTorchAdapter().describe(one.model, one.batches[0])
    assert {name: op.group for name, op in space.ops.items()} == {
        "query": "stub",
        "key": "stub",
        "value": "stub",
        "out": "",
    }
    assert space.transforms == {"bias_correction": (True, False)}
    tokens = torch.nn.Sequential(torch.nn.Embedding(5, 4))
    space = PyTorchAdapter().describe(tokens, (torch.randint(0, 5, (3, 2)), torch.zeros(3)))
    assert space.transforms == {}
