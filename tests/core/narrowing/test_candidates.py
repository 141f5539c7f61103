"""The candidates of one op: those that limits allow, defaults where nothing is said, and their order."""

from __future__ import annotations

from itertools import product

import pytest

from ilit.config import read_config
from ilit.narrowing.candidates import allowed_candidates
from ilit.recipe import FLOAT32, OpConfig, QuantSpec


def weight(granularity="per_channel", algorithm="minmax", bits=8, scheme="sym"):
    """Return a weight spec."""
    return QuantSpec("int8", scheme, granularity, algorithm, bits)


def activation(scheme="asym", algorithm="minmax", bits=8):
    """Return an activation spec."""
    return QuantSpec("uint8", scheme, "per_tensor", algorithm, bits)


def smooth(alpha, algorithm="minmax"):
    """Return a static candidate with this smoothing strength."""
    return OpConfig("int8", "static", weight(), activation(algorithm=algorithm), smoothing=alpha)


STATIC = [
    OpConfig("int8", "static", weight(granularity), activation(scheme, algorithm))
    for granularity, scheme, algorithm in product(
        ("per_tensor", "per_channel"), ("sym", "asym"), ("mse", "kl", "minmax")
    )
]
DYNAMIC = [OpConfig("int8", "dynamic", weight(), activation(scheme)) for scheme in ("sym", "asym")]
WEIGHT_ONLY = [OpConfig("int8", "weight_only", weight())]
LINEAR = (*STATIC, *DYNAMIC, FLOAT32)
BFLOAT16 = OpConfig("bfloat16")
TOKEN = OpConfig("int8", "dynamic", weight(), QuantSpec("uint8", "asym", "per_token"))
PLAIN = OpConfig("int8", "dynamic", weight(), activation())
RICH = (smooth(0.5), TOKEN, smooth(0.9), PLAIN, smooth(0), smooth(0, "kl"), FLOAT32, BFLOAT16)


def allowed(candidates, **sections):
    """The candidates that the whole model's limits leave."""
    return allowed_candidates(candidates, read_config(**sections).model_limits)


def allowed_for_op(candidates, limits):
    """The candidates that an op's own limits leave."""
    (entry,) = read_config(tuning={"ops": {"fc": limits}}).op_limits
    return allowed_candidates(candidates, entry)


def said(candidates):
    """Approach, scheme and algorithm of each INT8 candidate's activation, in order."""
    specs = [(config.approach, config.activation) for config in candidates if config.quantized]
    return [f"{approach} {spec.scheme} {spec.algorithm}" for approach, spec in specs]


def test_where_nothing_is_said_the_defaults_choose():
    """Per-channel weights; activations by every algorithm, asym then sym; the adapter's approaches in turn."""
    candidates = allowed(LINEAR)
    assert said(candidates) == [
        "static asym minmax",
        "static sym minmax",
        "static asym mse",
        "static sym mse",
        "static asym kl",
        "static sym kl",
        "dynamic asym minmax",
        "dynamic sym minmax",
    ]
    assert {config.weight for config in candidates if config.quantized} == {weight()}
    assert candidates[-1] == FLOAT32


def test_a_default_that_an_op_does_not_offer_takes_nothing_away():
    """Without per-channel or minmax the op has all that it offers."""
    only = OpConfig("int8", "static", weight("per_tensor", "mse"), activation("sym", "percentile"))
    assert allowed((only, FLOAT32)) == (only, FLOAT32)


def test_the_users_order_leads():
    """A list of candidates is also an order of preference, before all defaults."""
    sections = {
        "calibration": {"algorithm": {"activation": ["kl", "minmax"]}},
        "quantization": {"activation": {"scheme": ["sym"]}},
    }
    assert said(allowed((*STATIC, FLOAT32), **sections)) == ["static sym kl", "static sym minmax"]


APPROACHES = {
    "post_training_static_quant": (["static"], ["static"], ["weight_only"]),
    "post_training_dynamic_quant": ([], ["dynamic"], ["weight_only"]),
    "auto": (["static"], ["static", "dynamic"], ["weight_only"]),
}


@pytest.mark.parametrize(("approach", "left"), APPROACHES.items(), ids=APPROACHES)
def test_an_approach_narrows_the_ops_that_have_a_choice(approach, left):
    """Static and dynamic choose among both; embeddings, which know weights only, stay as they are."""
    for offered, wanted in zip((STATIC, LINEAR, WEIGHT_ONLY), left, strict=True):
        found = allowed((*offered, FLOAT32), quantization={"approach": approach})
        assert list(dict.fromkeys(config.approach for config in found if config.quantized)) == wanted


def test_the_models_dtype_says_nothing_about_float32():
    """Limiting the codes of weights and activations leaves float32 a candidate."""
    found = allowed(LINEAR, quantization={"weight": {"dtype": ["int8"]}, "activation": {"dtype": "uint8"}})
    assert found[0].quantized
    assert found[-1] == FLOAT32


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
    found = allowed_for_op(LINEAR, limits)
    assert (any(config.quantized for config in found), FLOAT32 in found) == expected


BITS = {
    "the widest dominates": ([(8, 8), (7, 8), (8, 7), (7, 7)], {}, [(8, 8)]),
    "neither of two dominates": ([(7, 8), (8, 7), (7, 7)], {}, [(7, 8), (8, 7)]),
    "one side was chosen": ([(8, 8), (7, 8), (7, 7)], {"weight": [7, 8]}, [(7, 8), (8, 8)]),
    "both sides were chosen": ([(8, 8), (7, 8), (7, 7)], {"weight": 7, "activation": [7, 8]}, [(7, 7), (7, 8)]),
}


@pytest.mark.parametrize(("offered", "chosen", "left"), BITS.values(), ids=BITS)
def test_of_candidates_that_differ_in_bits_the_widest_stay(offered, chosen, left):
    """Fewer bits than necessary are searched only where the user asks for them."""
    candidates = [OpConfig("int8", "static", weight(bits=w), activation(bits=a)) for w, a in offered]
    found = allowed((*candidates, FLOAT32), quantization={"bits": chosen})
    assert [(config.weight.bits, config.activation.bits) for config in found if config.quantized] == left


def test_calibration_algorithms_leave_dynamic_ops_alone():
    """A dynamic op takes its range at run time, so an algorithm for calibration is no limit to it."""
    sections = {
        "quantization": {"approach": "post_training_dynamic_quant"},
        "calibration": {"algorithm": {"activation": "kl"}},
    }
    assert said(allowed(LINEAR, **sections)) == ["dynamic asym minmax", "dynamic sym minmax"]


def test_candidates_come_in_order_of_cost():
    """Static before dynamic, plain before smoothed, per token after both, bfloat16 just before float32."""
    assert allowed(RICH) == (
        smooth(0), smooth(0, "kl"), smooth(0.5), smooth(0.9), PLAIN, TOKEN, BFLOAT16, FLOAT32,
    )  # fmt: skip


def test_granularity_per_token_leaves_nothing_else():
    """Asked for by the user, per token is what an op that offers it has; the others fall back to float32."""
    per_token = {"activation": {"granularity": "per_token"}}
    assert allowed(RICH, quantization=per_token) == (TOKEN, BFLOAT16, FLOAT32)
    assert allowed((smooth(0), FLOAT32), quantization=per_token) == (FLOAT32,)


def test_per_token_first_where_the_user_says_so():
    """A list of granularities is an order of preference."""
    found = allowed(RICH, quantization={"activation": {"granularity": ["per_token", "per_tensor"]}})
    assert found[:2] == (TOKEN, smooth(0))


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
    assert [config for config in allowed_for_op(RICH, limits) if not config.quantized] == floats


def test_bfloat16_that_is_not_offered_changes_nothing():
    """Beside INT8 it is one candidate less."""
    assert allowed_for_op(LINEAR, {"dtype": ["int8", "bf16", "fp32"]}) == allowed(LINEAR)
