"""Narrowing a search space by the limits of the whole model and of single ops."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from ilit.config import read_config
from ilit.errors import ConfigError
from ilit.narrowing.limits import governing_limits, narrow
from ilit.recipe import FLOAT32, OpConfig, QuantSpec
from ilit.space import CalibrationSize, Op, SearchSpace

STATIC = [
    OpConfig("int8", "static", QuantSpec("int8", "sym", granularity), QuantSpec("uint8", scheme))
    for granularity in ("per_tensor", "per_channel")
    for scheme in ("sym", "asym")
]
DYNAMIC = [OpConfig("int8", "dynamic", QuantSpec("int8", "sym", "per_channel"), QuantSpec("uint8", "asym"))]
WEIGHT_ONLY = [OpConfig("int8", "weight_only", QuantSpec("int8", "sym", "per_channel"))]
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


def test_what_stays_in_float_goes_along():
    """Narrowing is of ops; the others stay listed with their reason."""
    left = {"enc.2.fc": "its forward was replaced"}
    assert narrowed(replace(SPACE, left_in_float=left)).left_in_float == left


def test_every_op_is_narrowed_by_the_defaults():
    """Where nothing is said; one calibration size, and the rest of the op as it was."""
    space = narrowed()
    assert [len(op.candidates) for op in space.ops.values()] == [3, 4, 4, 2]
    assert all(op.candidates[-1] == FLOAT32 for op in space.ops.values())
    assert space.calibrations == (CalibrationSize(128),)
    grouped = replace(SPACE, ops={"a": Op("a", "linear", (*STATIC, FLOAT32), group="in")})
    assert narrowed(grouped).ops["a"].group == "in"


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
    assert DYNAMIC[0] in space.ops["enc.0.fc"].candidates
    assert DYNAMIC[0] not in space.ops["enc.1.fc"].candidates


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


UNMATCHED = {
    "a name like an op's": (
        {"tuning": {"ops": {"enc.0.fcc": {"dtype": "float32"}}}},
        "Tuner(...): tuning.ops.enc.0.fcc: matches no op; nearest: enc.0.fc, enc.1.fc",
    ),
    "a glob": (
        {"tuning": {"ops": {"zz*": {"dtype": "float32"}}}},
        "Tuner(...): tuning.ops.zz*: matches no op; the model's ops: conv, enc.0.fc, enc.1.fc, emb",
    ),
}


@pytest.mark.parametrize(("sections", "message"), UNMATCHED.values(), ids=UNMATCHED)
def test_a_pattern_that_matches_no_op_is_refused(sections, message):
    """With the nearest names, or the first of the model's."""
    with pytest.raises(ConfigError) as caught:
        narrowed(**sections)
    assert str(caught.value) == message


def test_transforms_are_narrowed_with_the_rest(caplog):
    """Forbidden ones go, and allowed ones that no candidate is left to have are logged."""
    caplog.set_level(logging.INFO, logger="ilit")
    smoothed = replace(STATIC[-1], smoothing=0.5)
    space = SearchSpace({"fc": Op("fc", "linear", (*STATIC, smoothed, *DYNAMIC, FLOAT32))})
    assert smoothed in narrowed(space).ops["fc"].candidates
    assert smoothed not in narrowed(space, quantization={"transforms": "none"}).ops["fc"].candidates
    narrowed(space, quantization={"transforms": {"smooth": 0.7}, "approach": "post_training_dynamic_quant"})
    assert "Tuner(...): quantization.transforms: nothing in the search space can have smooth" in caplog.messages


def test_calibration_sizes_are_searched_only_where_they_matter(caplog):
    """Each size is a candidate while an op is static; else one is as good as all, which is logged."""
    caplog.set_level(logging.INFO, logger="ilit")
    sizes = {"iterations": [10, 50]}
    assert [str(size) for size in narrowed(calibration=sizes).calibrations] == ["10 batches", "50 batches"]
    dynamic = narrowed(calibration=sizes, quantization={"approach": "post_training_dynamic_quant"})
    assert [str(size) for size in dynamic.calibrations] == ["10 batches"]
    assert "no op takes its range from calibration, so only 10 batches are searched" in caplog.messages


def test_narrowing_leaves_the_given_space_as_it_was():
    """Frozen in, new out."""
    before = {name: op.candidates for name, op in SPACE.ops.items()}
    space = narrowed()
    assert {name: op.candidates for name, op in SPACE.ops.items()} == before
    assert space.size() == 3 * 4 * 4 * 2
