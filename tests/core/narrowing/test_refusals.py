"""Limits that leave something else than the user asked for are refused, with both sides in one line."""

from __future__ import annotations

import logging

import pytest

from ilit.config import read_config
from ilit.errors import ConfigError
from ilit.narrowing.limits import narrow
from ilit.narrowing.refusals import few
from ilit.recipe import FLOAT32, OpConfig, QuantSpec
from ilit.space import Op, SearchSpace

ACTIVATION = QuantSpec("uint8", "asym")
STATIC, DYNAMIC = (OpConfig("int8", approach, QuantSpec(), ACTIVATION) for approach in ("static", "dynamic"))
SPACE = SearchSpace(
    {
        op.name: op
        for op in (
            Op("conv", "conv2d", (STATIC, FLOAT32)),
            Op("enc.0.fc", "linear", (STATIC, DYNAMIC, FLOAT32)),
            Op("enc.1.fc", "linear", (STATIC, DYNAMIC, FLOAT32)),
            Op("emb", "embedding", (OpConfig("int8", "weight_only", QuantSpec()), FLOAT32)),
        )
    }
)


def narrowed(space=SPACE, **sections):
    """Narrow a space by a configuration given as keywords."""
    return narrow(space, read_config(**sections))


REFUSED = {
    "an op without what it is allowed": (
        {"tuning": {"ops": {"conv": {"weight": {"dtype": "uint8"}}}}},
        (
            "Tuner(...): tuning.ops.conv: nothing is left for op 'conv': allowed weight.dtype uint8; "
            "adapter and CPU offer weight.dtype int8; allow more of it, or remove the limit"
        ),
    ),
    "an op forced to INT8 against the model's limits": (
        {"quantization": {"activation": {"dtype": "int8"}}, "tuning": {"ops": {"conv": {"dtype": "int8"}}}},
        (
            "Tuner(...): tuning.ops.conv: nothing is left for op 'conv': allowed dtype int8, activation.dtype int8; "
            "adapter and CPU offer dtype int8/float32, activation.dtype uint8; allow more of it, or remove the limit"
        ),
    ),
    "a glob none of whose ops has the approach": (
        {"tuning": {"ops": {"con*": {"approach": "post_training_dynamic_quant"}}}},
        (
            "Tuner(...): tuning.ops.con*: nothing is left for op 'conv': allowed approach dynamic; "
            "adapter and CPU offer approach static; allow more of it, or remove the limit"
        ),
    ),
    "the whole model": (
        {"quantization": {"weight": {"dtype": "uint8"}}},
        (
            "Tuner(...): quantization: the whole model would stay in float32: nothing is left for op 'conv': "
            "allowed weight.dtype uint8; adapter and CPU offer weight.dtype int8; "
            "allow more of it, or remove the limit"
        ),
    ),
    "the whole model on purpose": (
        {"tuning": {"ops": {"*": {"dtype": "float32"}}}},
        ("Tuner(...): tuning.ops.*: every op stays in float32, so there is nothing to tune; leave some op to INT8"),
    ),
    "an op's granularity": (
        {"tuning": {"ops": {"conv": {"activation": {"granularity": "per_token"}}}}},
        (
            "Tuner(...): tuning.ops.conv: nothing is left for op 'conv': allowed activation.granularity per_token; "
            "adapter and CPU offer activation.granularity per_tensor; allow more of it, or remove the limit"
        ),
    ),
    "an op's dtype": (
        {"tuning": {"ops": {"conv": {"dtype": "bf16"}}}},
        (
            "Tuner(...): tuning.ops.conv: nothing is left for op 'conv': allowed dtype bfloat16; "
            "adapter and CPU offer dtype int8/float32; allow more of it, or remove the limit"
        ),
    ),
    "the whole model's dtype": (
        {"quantization": {"weight": {"dtype": "bf16"}}},
        (
            "Tuner(...): quantization: the whole model would stay in float32: nothing is left for op 'conv': allowed "
            "weight.dtype bfloat16; adapter and CPU offer weight.dtype int8; allow more of it, or remove the limit"
        ),
    ),
}


@pytest.mark.parametrize(("sections", "message"), REFUSED.values(), ids=REFUSED)
def test_limits_that_cannot_be_met_are_refused_with_both_sides(sections, message):
    """The error names the place, what is allowed there and what is offered."""
    with pytest.raises(ConfigError) as caught:
        narrowed(**sections)
    assert str(caught.value) == message


def test_an_op_that_offers_float_only_cannot_be_forced_to_int8():
    """Where the CPU has no safe kernel, dtype int8 is refused rather than dropped."""
    space = SearchSpace({**SPACE.ops, "bad": Op("bad", "linear", (FLOAT32,))})
    with pytest.raises(
        ConfigError, match=r"ops.bad: nothing is left for op 'bad': allowed dtype int8; .* only float32"
    ):
        narrowed(space, tuning={"ops": {"bad": {"dtype": "int8"}}})


def test_a_model_without_quantizable_ops_is_refused():
    """A space of float32 alone is nothing to search."""
    for ops in ({}, {"a": Op("a", "linear", (FLOAT32,))}):
        with pytest.raises(ConfigError, match="the model has no op that can be quantized"):
            narrowed(SearchSpace(ops))


def test_ops_that_limits_leave_in_float_are_logged(caplog):
    """A limit that an op cannot meet leaves that op in float32, and says which."""
    caplog.set_level(logging.INFO, logger="ilit")
    space = narrowed(quantization={"approach": "post_training_dynamic_quant"})
    assert not space.ops["conv"].quantizable
    assert caplog.messages == ["stays in float32, since limits leave no INT8 candidate: conv"]


def test_a_glob_that_some_of_its_ops_can_meet_is_no_mistake():
    """The others fall back to float32."""
    space = narrowed(tuning={"ops": {"*": {"approach": "post_training_dynamic_quant"}}})
    assert [name for name, op in space.ops.items() if not op.quantizable] == ["conv"]
    assert space.ops["enc.0.fc"].quantizable


@pytest.mark.parametrize(
    ("names", "text"),
    [(["a"], "a"), (list("abcd"), "a, b, c, d"), (list("abcdef"), "a, b, c, d and 2 more")],
    ids=["one", "four", "six"],
)
def test_of_many_names_a_few_are_shown(names, text):
    """A line stays a line."""
    assert few(names) == text
