"""Narrowing a search space by what the user says, and by defaults where nothing is said."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import product

import pytest

from ilit.config import read_config
from ilit.errors import ConfigError
from ilit.narrowing.limits import governing_limits, narrow
from ilit.recipe import FLOAT32, OpConfig, QuantSpec
from ilit.space import CalibrationSize, Op, SearchSpace


def weight(granularity="per_channel", algorithm="minmax", bits=8, scheme="sym"):
    """Return a weight spec."""
    return QuantSpec("int8", scheme, granularity, algorithm, bits)


def activation(scheme="asym", algorithm="minmax", bits=8):
    """Return an activation spec."""
    return QuantSpec("uint8", scheme, "per_tensor", algorithm, bits)


STATIC = [
    OpConfig("int8", "static", weight(granularity), activation(scheme, algorithm))
    for granularity, scheme, algorithm in product(
        ("per_tensor", "per_channel"), ("sym", "asym"), ("mse", "kl", "minmax")
    )
]
DYNAMIC = [OpConfig("int8", "dynamic", weight(), activation(scheme)) for scheme in ("sym", "asym")]
WEIGHT_ONLY = [OpConfig("int8", "weight_only", weight())]
SPACE = SearchSpace(
    {
        op.name: op
        for op in (
            Op("conv", "conv2d", (*STATIC, FLOAT32)),
            Op("enc.0.fc", "linear", (*STATIC, *DYNAMIC, FLOAT32)),
            Op("enc.1.fc", "linear", (*STATIC, *DYNAMIC, FLOAT32)),
            Op("emb", "embedding", (*WEIGHT_ONLY, FLOAT32)),
        )
    }
)


def narrowed(space=SPACE, **sections):
    """Narrow a space by a configuration given as keywords."""
    return narrow(space, read_config(**sections))


def said(op, tensor="activation"):
    """Return approach, scheme and algorithm of each INT8 candidate, in order."""
    specs = [(config.approach, getattr(config, tensor)) for config in op.candidates if config.quantized]
    return [f"{approach} {spec.scheme} {spec.algorithm}" for approach, spec in specs if spec]


def test_what_stays_in_float_goes_along():
    """Narrowing is of ops; what is none keeps its reason."""
    left = {"enc.2.fc": "its forward was replaced"}
    assert narrowed(replace(SPACE, left_in_float=left)).left_in_float == left


def test_where_nothing_is_said_the_defaults_choose():
    """Per-channel weights; activations by every algorithm, asym then sym; the adapter's approaches in turn."""
    space = narrowed()
    assert said(space.ops["enc.0.fc"]) == [
        "static asym minmax",
        "static sym minmax",
        "static asym mse",
        "static sym mse",
        "static asym kl",
        "static sym kl",
        "dynamic asym minmax",
        "dynamic sym minmax",
    ]
    weights = {config.weight for op in space.ops.values() for config in op.candidates if config.quantized}
    assert weights == {weight()}
    assert all(op.candidates[-1] == FLOAT32 for op in space.ops.values())
    assert space.calibrations == (CalibrationSize(128),)


def test_a_default_that_an_op_does_not_offer_takes_nothing_away():
    """Without per-channel or minmax the op keeps what it has."""
    only = OpConfig("int8", "static", weight("per_tensor", "mse"), activation("sym", "percentile"))
    space = SearchSpace({"a": Op("a", "linear", (only, FLOAT32))})
    assert narrowed(space).ops["a"].candidates == (only, FLOAT32)


def test_the_users_order_leads():
    """A list of candidates is also an order of preference, before all defaults."""
    space = narrowed(
        calibration={"algorithm": {"activation": ["kl", "minmax"]}}, quantization={"activation": {"scheme": ["sym"]}}
    )
    assert said(space.ops["conv"]) == ["static sym kl", "static sym minmax"]


APPROACHES = {
    "post_training_static_quant": (["static"], ["static"], ["weight_only"]),
    "post_training_dynamic_quant": ([], ["dynamic"], ["weight_only"]),
    "auto": (["static"], ["static", "dynamic"], ["weight_only"]),
}


@pytest.mark.parametrize(("approach", "kept"), APPROACHES.items(), ids=APPROACHES)
def test_an_approach_keeps_its_candidates_and_ops_that_know_weights_only(approach, kept):
    """Static and dynamic narrow the ops that have a choice; embeddings stay as they are under both."""
    space = narrowed(quantization={"approach": approach})
    found = [[c.approach for c in space.ops[name].candidates if c.quantized] for name in ("conv", "enc.0.fc", "emb")]
    assert [list(dict.fromkeys(approaches)) for approaches in found] == list(kept)


def test_the_models_dtype_says_nothing_about_float32():
    """Limiting the codes of weights leaves float32 a candidate of every op."""
    space = narrowed(quantization={"weight": {"dtype": ["int8"]}, "activation": {"dtype": "uint8"}})
    assert all(op.quantizable and op.candidates[-1] == FLOAT32 for op in space.ops.values())


OP_DTYPES = {
    "float32": ({"dtype": "float32"}, (False, True)),
    "int8": ({"dtype": "int8"}, (True, False)),
    "both": ({"dtype": ["int8", "float32"]}, (True, True)),
    "float32 weights, as the older tool says it": ({"weight": {"dtype": ["fp32"]}}, (False, True)),
    "float32 or int8 weights": ({"weight": {"dtype": ["int8", "fp32"]}}, (True, True)),
}


@pytest.mark.parametrize(("limits", "expected"), OP_DTYPES.values(), ids=OP_DTYPES)
def test_an_ops_dtype_decides_about_int8_and_float32(limits, expected):
    """For one op, dtype int8 takes float32 away and float32 takes INT8 away."""
    op = narrowed(tuning={"ops": {"conv": limits}}).ops["conv"]
    assert (op.quantizable, FLOAT32 in op.candidates) == expected


def test_an_op_overrides_the_model_leaf_by_leaf():
    """What an op's entry leaves open is what the whole model's limits say."""
    space = narrowed(
        quantization={"weight": {"granularity": "per_tensor"}, "activation": {"scheme": "sym"}},
        tuning={"ops": {"conv": {"activation": {"scheme": "asym"}}}},
    )
    assert {(c.weight.granularity, c.activation.scheme) for c in space.ops["conv"].candidates if c.quantized} == {
        ("per_tensor", "asym")
    }


def test_an_op_may_take_back_the_models_approach():
    """Approach auto for one op frees it where the whole model is static."""
    space = narrowed(
        quantization={"approach": "post_training_static_quant"}, tuning={"ops": {"enc.0.*": {"approach": "auto"}}}
    )
    assert "dynamic asym minmax" in said(space.ops["enc.0.fc"])
    assert "dynamic asym minmax" not in said(space.ops["enc.1.fc"])


def test_an_exact_name_wins_and_among_globs_the_last(caplog):
    """The order of the file decides among globs only, and each decision is logged once."""
    caplog.set_level(logging.INFO, logger="ilit")
    config = read_config(
        tuning={
            "ops": {
                "conv": {"dtype": "int8"},
                "*": {"dtype": "float32"},
                "enc.*": {"approach": "auto"},
            }
        }
    )
    governing = governing_limits(SPACE, config.op_limits)
    assert {name: limits.pattern for name, limits in governing.items()} == {
        "conv": "conv",
        "enc.0.fc": "enc.*",
        "enc.1.fc": "enc.*",
        "emb": "*",
    }
    assert caplog.messages == [
        "Tuner(...): tuning.ops.* gives way to Tuner(...): tuning.ops.conv for conv",
        "Tuner(...): tuning.ops.* gives way to Tuner(...): tuning.ops.enc.* for enc.0.fc, enc.1.fc",
    ]


def bits_space(*pairs):
    """Return a space of one op whose candidates differ in weight and activation bits."""
    found = [OpConfig("int8", "static", weight(bits=w), activation(bits=a)) for w, a in pairs]
    return SearchSpace({"a": Op("a", "linear", (*found, FLOAT32))})


BITS = {
    "the widest dominates": ([(8, 8), (7, 8), (8, 7), (7, 7)], {}, [(8, 8)]),
    "neither of two dominates": ([(7, 8), (8, 7), (7, 7)], {}, [(7, 8), (8, 7)]),
    "one side was chosen": ([(8, 8), (7, 8), (7, 7)], {"weight": [7, 8]}, [(7, 8), (8, 8)]),
    "both sides were chosen": ([(8, 8), (7, 8), (7, 7)], {"weight": 7, "activation": [7, 8]}, [(7, 7), (7, 8)]),
}


@pytest.mark.parametrize(("offered", "chosen", "kept"), BITS.values(), ids=BITS)
def test_of_candidates_that_differ_in_bits_the_widest_are_kept(offered, chosen, kept):
    """Fewer bits than necessary are searched only where the user asks for them."""
    op = narrowed(bits_space(*offered), quantization={"bits": chosen}).ops["a"]
    assert [(c.weight.bits, c.activation.bits) for c in op.candidates if c.quantized] == kept


def test_calibration_algorithms_leave_dynamic_ops_alone():
    """A dynamic op takes its range at run time, so an algorithm for calibration is no limit to it."""
    space = narrowed(
        quantization={"approach": "post_training_dynamic_quant"}, calibration={"algorithm": {"activation": "kl"}}
    )
    assert said(space.ops["enc.0.fc"]) == ["dynamic asym minmax", "dynamic sym minmax"]


def test_calibration_sizes_are_searched_only_where_they_matter(caplog):
    """Each size is a candidate while an op is static; else one is as good as all, which is logged."""
    caplog.set_level(logging.INFO, logger="ilit")
    sizes = {"iterations": [10, 50]}
    assert [str(size) for size in narrowed(calibration=sizes).calibrations] == ["10 batches", "50 batches"]
    dynamic = narrowed(calibration=sizes, quantization={"approach": "post_training_dynamic_quant"})
    assert [str(size) for size in dynamic.calibrations] == ["10 batches"]
    assert "no op takes its range from calibration, so only 10 batches are searched" in caplog.messages


def test_ops_that_limits_leave_in_float_are_logged(caplog):
    """A limit that an op cannot meet keeps that op in float32, and says which."""
    caplog.set_level(logging.INFO, logger="ilit")
    space = narrowed(quantization={"approach": "post_training_dynamic_quant"})
    assert not space.ops["conv"].quantizable
    assert caplog.messages == ["stays in float32, since limits leave no INT8 candidate: conv"]


REFUSED = {
    "a name like an op's": (
        {"tuning": {"ops": {"enc.0.fcc": {"dtype": "float32"}}}},
        "Tuner(...): tuning.ops.enc.0.fcc: matches no op; nearest: enc.0.fc, enc.1.fc",
    ),
    "a glob": (
        {"tuning": {"ops": {"zz*": {"dtype": "float32"}}}},
        "Tuner(...): tuning.ops.zz*: matches no op; the model's ops: conv, enc.0.fc, enc.1.fc, emb",
    ),
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
        ("Tuner(...): tuning.ops.*: every op is kept in float32, so there is nothing to tune; leave some op to INT8"),
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


def test_narrowing_leaves_the_given_space_as_it_was():
    """Frozen in, new out."""
    before = {name: op.candidates for name, op in SPACE.ops.items()}
    space = narrowed()
    assert {name: op.candidates for name, op in SPACE.ops.items()} == before
    assert space.size() == len(space.ops["conv"].candidates) * 9 * 9 * 2


# --- Transforms, scales per token, bfloat16 ------------------------------------------------------------------------

BFLOAT16 = OpConfig("bfloat16")
TOKEN = OpConfig("int8", "dynamic", weight(), QuantSpec("uint8", "asym", "per_token"))


def smooth(alpha, algorithm="minmax"):
    """Return a static candidate with this smoothing strength."""
    return OpConfig("int8", "static", weight(), activation(algorithm=algorithm), smoothing=alpha)


PLAIN = OpConfig("int8", "dynamic", weight(), activation())
RICH = SearchSpace(
    {
        "fc": Op(
            "fc",
            "linear",
            (smooth(0.5), TOKEN, smooth(0.9), PLAIN, smooth(0), smooth(0, "kl"), FLOAT32, BFLOAT16),
            group="in",
        ),
        "conv": Op("conv", "conv2d", (smooth(0), FLOAT32)),
    },
    transforms={"bias_correction": (True, False)},
)


def test_what_the_adapter_offers_is_searched_in_order_of_cost():
    """Static before dynamic, plain before smoothed, per token after both, bfloat16 just before float32."""
    space = narrowed(RICH)
    assert space.ops["fc"].candidates == (
        smooth(0), smooth(0, "kl"), smooth(0.5), smooth(0.9), PLAIN, TOKEN, BFLOAT16, FLOAT32,
    )  # fmt: skip
    assert space.ops["fc"].group == "in"
    assert space.transforms == {"bias_correction": (True, False)}


TRANSFORMS = {
    "none": ("none", [0.0], False, (False,)),
    "smooth none": ({"smooth": "none"}, [0.0], True, (True, False)),
    "smooth false": ({"smooth": False}, [0.0], True, (True, False)),
    "one strength": ({"smooth": 0.7}, [0.0, 0.7], True, (True, False)),
    "strengths in the user's order": ({"smooth": [0.8, 0.5]}, [0.0, 0.8, 0.5], True, (True, False)),
    "per token forbidden": ({"per_token": False}, [0.0, 0.5, 0.9], False, (True, False)),
    "per token allowed": ({"per_token": True}, [0.0, 0.5, 0.9], True, (True, False)),
    "bias correction forbidden": ({"bias_correction": False}, [0.0, 0.5, 0.9], True, (False,)),
    "bias correction allowed": ({"bias_correction": True}, [0.0, 0.5, 0.9], True, (True, False)),
}


@pytest.mark.parametrize(("transforms", "strengths", "per_token", "bias"), TRANSFORMS.values(), ids=TRANSFORMS)
def test_transforms_are_narrowed_to_what_is_allowed(transforms, strengths, per_token, bias):
    """Forbidden ones go, the user's strengths take the place of the offered ones, the rest stays."""
    space = narrowed(RICH, quantization={"transforms": transforms})
    minmax = [c for c in space.ops["fc"].candidates if c.approach == "static" and c.activation.algorithm == "minmax"]
    assert [config.smoothing for config in minmax] == strengths
    assert (TOKEN in space.ops["fc"].candidates) == per_token
    assert space.transforms["bias_correction"] == bias
    assert smooth(0, "kl") in space.ops["fc"].candidates
    assert space.ops["conv"].candidates == (smooth(0), FLOAT32)


def test_granularity_per_token_keeps_nothing_else():
    """Asked for by the user, per token is what every op that offers it has; the others fall back to float32."""
    space = narrowed(RICH, quantization={"activation": {"granularity": "per_token"}})
    assert space.ops["fc"].candidates == (TOKEN, BFLOAT16, FLOAT32)
    assert space.ops["conv"].candidates == (FLOAT32,)


def test_per_token_first_where_the_user_says_so():
    """A list of granularities is an order of preference."""
    space = narrowed(RICH, quantization={"activation": {"granularity": ["per_token", "per_tensor"]}})
    assert space.ops["fc"].candidates[:2] == (TOKEN, smooth(0))


OP_FLOATS = {
    "bfloat16 alone": ({"dtype": "bfloat16"}, [BFLOAT16]),
    "int8 and bfloat16": ({"dtype": ["int8", "bf16"]}, [BFLOAT16]),
    "int8 and float32": ({"dtype": ["int8", "float32"]}, [FLOAT32]),
    "bfloat16 weights leave float32": ({"weight": {"dtype": ["int8", "bf16"]}}, [BFLOAT16, FLOAT32]),
    "float32 weights do without bfloat16": ({"weight": {"dtype": ["int8", "fp32"]}}, [FLOAT32]),
    "codes say nothing of floats": ({"weight": {"dtype": ["int8"]}}, [BFLOAT16, FLOAT32]),
}


@pytest.mark.parametrize(("limits", "floats"), OP_FLOATS.values(), ids=OP_FLOATS)
def test_floats_are_those_the_user_names(limits, floats):
    """An op's dtype decides; among the dtypes of its tensors a float that is named leaves out bfloat16 if not named."""
    op = narrowed(RICH, tuning={"ops": {"fc": limits}}).ops["fc"]
    assert [config for config in op.candidates if not config.quantized] == floats


def test_bfloat16_that_is_not_offered_changes_nothing():
    """Beside INT8 it is one candidate less."""
    assert narrowed(tuning={"ops": {"conv": {"dtype": ["int8", "bf16", "fp32"]}}}) == narrowed()


NOT_OFFERED = {
    "strengths without smoothing": (
        SPACE,
        {"quantization": {"transforms": {"smooth": [0.7]}}},
        (
            "Tuner(...): quantization.transforms.smooth: adapter and CPU offer smoothing for no op of this model; "
            "write none, or remove it"
        ),
    ),
    "an op's granularity": (
        RICH,
        {"tuning": {"ops": {"conv": {"activation": {"granularity": "per_token"}}}}},
        (
            "Tuner(...): tuning.ops.conv: nothing is left for op 'conv': allowed activation.granularity per_token; "
            "adapter and CPU offer activation.granularity per_tensor; allow more of it, or remove the limit"
        ),
    ),
    "an op's dtype": (
        RICH,
        {"tuning": {"ops": {"conv": {"dtype": "bf16"}}}},
        (
            "Tuner(...): tuning.ops.conv: nothing is left for op 'conv': allowed dtype bfloat16; "
            "adapter and CPU offer dtype int8/float32; allow more of it, or remove the limit"
        ),
    ),
    "the whole model's dtype": (
        SPACE,
        {"quantization": {"weight": {"dtype": "bf16"}}},
        (
            "Tuner(...): quantization: the whole model would stay in float32: nothing is left for op 'conv': allowed "
            "weight.dtype bfloat16; adapter and CPU offer weight.dtype int8; allow more of it, or remove the limit"
        ),
    ),
    "per token, forbidden and asked for": (
        RICH,
        {"quantization": {"transforms": "none", "activation": {"granularity": "per_token"}}},
        (
            "Tuner(...): quantization: activation.granularity per_token is forbidden by quantization.transforms; "
            "remove one of them"
        ),
    ),
}


@pytest.mark.parametrize(("space", "sections", "message"), NOT_OFFERED.values(), ids=NOT_OFFERED)
def test_what_is_asked_for_and_not_offered_is_refused(space, sections, message):
    """Place, what was asked, what is there."""
    with pytest.raises(ConfigError) as caught:
        narrowed(space, **sections)
    assert str(caught.value) == message


UNUSED = {
    "allowed and not offered": (SPACE, {"per_token": True, "bias_correction": True}, "bias_correction or per_token"),
    "offered only for what is forbidden": (RICH, {"smooth": 0.7}, "smooth"),
}


@pytest.mark.parametrize(("space", "transforms", "names"), UNUSED.values(), ids=UNUSED)
def test_allowed_transforms_that_nothing_can_have_are_logged(caplog, space, transforms, names):
    """What was said and makes no difference is told in one line."""
    caplog.set_level(logging.INFO, logger="ilit")
    approach = "auto" if space is SPACE else "post_training_dynamic_quant"
    narrowed(space, quantization={"transforms": transforms, "approach": approach})
    assert f"Tuner(...): quantization.transforms: nothing in the search space can have {names}" in caplog.messages


def test_strengths_are_no_limit_to_space_without_them():
    """Where nothing is said, or smoothing is forbidden, an adapter without it is fine."""
    assert narrowed(quantization={"transforms": "none"}) == narrowed()
