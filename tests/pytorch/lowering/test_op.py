"""One op lowered: the module, its quantizer and what is added to its bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.ao.nn.intrinsic import LinearReLU

from ilit.errors import LoweringError
from ilit.recipe import OpConfig, Recipe
from ilit_pytorch.lowering.op import (
    BIAS_CORRECTION,
    activation_spec,
    build_op,
    input_quantizer,
    lowered_bias,
    round_weight,
    weight_spec,
)
from ilit_pytorch.lowering.session import LoweringCache, LoweringSession
from ilit_pytorch.module_parts.activation import DynamicQuantizer, StaticQuantizer, TokenQuantizer
from ilit_pytorch.modules.conv import Int8Conv
from ilit_pytorch.modules.embedding import Int8Embedding
from ilit_pytorch.modules.island import IslandOp
from ilit_pytorch.modules.linear import Int8Linear


def session_of(subject: Any) -> LoweringSession:
    """Return a session with a cache of its own."""
    return LoweringSession(subject.model, subject.calibration, LoweringCache.for_model(subject.model))


def recipe_of(config: OpConfig, op: str = "0", **transforms: Any) -> Recipe:
    """Return a recipe of one op."""
    return Recipe({op: config}, "1 batches", transforms)


@pytest.mark.parametrize("kind", ["linear", "conv", "embedding"])
def test_each_kind_becomes_its_module(bench: Callable[..., Any], nets: Any, kind: str) -> None:
    """Its weight in int8 codes of the float weight's shape."""
    weight_only = replace(nets.STATIC, approach="weight_only", activation=None)
    make, inputs, config, wanted = {
        "linear": (lambda: torch.nn.Linear(8, 4), torch.randn(6, 8), nets.STATIC, Int8Linear),
        "conv": (lambda: torch.nn.Conv2d(2, 4, 3), torch.randn(2, 2, 6, 6), nets.STATIC, Int8Conv),
        "embedding": (lambda: torch.nn.Embedding(9, 4), torch.randint(0, 9, (6, 2)), weight_only, Int8Embedding),
    }[kind]
    subject = bench(torch.nn.Sequential(make(), torch.nn.Linear(4, 4)), inputs)
    module: Any = build_op(session_of(subject), "0", recipe_of(config))
    assert type(module) is wanted
    codes = module.tensors()["weight"]
    assert (codes.dtype, codes.shape) == (torch.int8, subject.model[0].weight.shape)


def test_inside_an_island_a_static_op_is_torchs(stubbed: Any, nets: Any) -> None:
    """A dynamic one there is ilit's own, between float tensors."""
    session = session_of(stubbed)
    assert type(build_op(session, "head", recipe_of(nets.STATIC, "head"))) is IslandOp
    assert type(build_op(session, "head", recipe_of(nets.DYNAMIC, "head"))) is Int8Linear


def test_a_fused_relu_is_a_post_op(bench: Callable[..., Any], nets: Any) -> None:
    """No output is negative."""
    subject = bench(torch.nn.Sequential(LinearReLU(torch.nn.Linear(8, 4), torch.nn.ReLU())), torch.randn(16, 8))
    module: Any = build_op(session_of(subject), "0", recipe_of(nets.STATIC))
    assert module.post_op == "relu"
    assert float(module(subject.inputs).min()) == 0.0


def test_the_approach_says_how_the_input_becomes_codes(bench: Callable[..., Any], nets: Any) -> None:
    """By calibrated ranges, by the tensor's own, or by each token's."""
    subject = bench(nets.mlp(), torch.randn(16, 8))
    token = replace(nets.DYNAMIC, activation=replace(nets.DYNAMIC.activation, scheme="sym", granularity="per_token"))
    kinds = {StaticQuantizer: nets.STATIC, DynamicQuantizer: nets.DYNAMIC, TokenQuantizer: token}
    session = session_of(subject)
    assert [type(input_quantizer(session, "0", recipe_of(config))) for config in kinds.values()] == list(kinds)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_a_rounded_weight_is_half_a_step_off_at_most(bench: Callable[..., Any], nets: Any, smoothing: float) -> None:
    """Smoothed it is the weight times the smoothing's vector, and the centre's share is left to the bias."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(8, 4)), torch.randn(32, 8) * torch.arange(1.0, 9.0) + 3.0)
    session, recipe = session_of(subject), recipe_of(replace(nets.STATIC, smoothing=smoothing))
    pack, weight = round_weight(session, "0", recipe), subject.model[0].weight.detach()
    found = session.smoothing("1 batches", "0", smoothing)
    wanted = weight if found is None else weight * found.vector
    assert pack.codes.abs().max() <= 63  # 7 bits
    assert bool(((pack.codes * pack.scale[:, None] - wanted).abs() <= 0.5001 * pack.scale[:, None]).all())
    assert (pack.centre is None) == (smoothing == 0.0)
    if found is not None and pack.centre is not None:
        torch.testing.assert_close(pack.centre, weight @ found.centre)


def test_bias_correction_is_added_where_the_recipe_asks_for_it(bench: Callable[..., Any], nets: Any) -> None:
    """The same pack serves recipes with and without it."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(8, 4)), torch.randn(32, 8) + 1.0)
    session, op = session_of(subject), subject.model[0]
    pack = round_weight(session, "0", recipe_of(nets.STATIC))
    plain = lowered_bias(op, pack, recipe_of(nets.STATIC))
    corrected = lowered_bias(op, pack, recipe_of(nets.STATIC, **{BIAS_CORRECTION: True}))
    assert torch.equal(plain, op.bias.detach())
    assert torch.equal(corrected, op.bias.detach() + pack.shift)
    assert float(pack.shift.abs().max()) > 0.0
    without = torch.nn.Linear(8, 4, bias=False)
    assert lowered_bias(without, replace(pack, shift=None), recipe_of(nets.STATIC)) is None


def test_a_config_without_a_spec_is_refused_by_the_ops_name(nets: Any) -> None:
    """An INT8 op needs a weight's, and all but weight-only ones an activation's."""
    with pytest.raises(LoweringError, match="fc: an INT8 op needs a weight spec"):
        weight_spec("fc", replace(nets.STATIC, weight=None))
    with pytest.raises(LoweringError, match="fc: a static op needs an activation spec"):
        activation_spec("fc", replace(nets.STATIC, activation=None))
