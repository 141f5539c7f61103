"""Transforms: forbidden ones go, the user's strengths lead, and what nothing can have is said."""

from __future__ import annotations

import logging

import pytest

from ilit.config import read_config
from ilit.errors import ConfigError
from ilit.narrowing.transforms import allow_transforms, is_per_token, log_unused, memoized
from ilit.recipe import FLOAT32, OpConfig, QuantSpec
from ilit.space import Op, SearchSpace

TOKEN = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym", "per_token"))
DYNAMIC = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym"))


def smooth(alpha, algorithm="minmax"):
    """Return a static candidate with this smoothing strength."""
    activation = QuantSpec("uint8", "asym", "per_tensor", algorithm)
    return OpConfig("int8", "static", QuantSpec(), activation, smoothing=alpha)


PLAIN = SearchSpace({"conv": Op("conv", "conv2d", (smooth(0), FLOAT32))})
RICH = SearchSpace(
    {
        "fc": Op("fc", "linear", (smooth(0), smooth(0.5), smooth(0.9), smooth(0, "kl"), DYNAMIC, TOKEN, FLOAT32)),
        **PLAIN.ops,
    },
    transforms={"bias_correction": (True, False)},
)


def config(transforms, **quantization):
    """Return a configuration with these transforms."""
    return read_config(quantization={"transforms": transforms, **quantization})


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
    space = allow_transforms(RICH, config(transforms))
    minmax = [c for c in space.ops["fc"].candidates if c.approach == "static" and c.activation.algorithm == "minmax"]
    assert [candidate.smoothing for candidate in minmax] == strengths
    assert (TOKEN in space.ops["fc"].candidates) == per_token
    assert space.transforms["bias_correction"] == bias
    assert {smooth(0, "kl"), DYNAMIC, FLOAT32} <= set(space.ops["fc"].candidates)
    assert space.ops["conv"] == RICH.ops["conv"]


def test_without_limits_the_space_stays():
    """Where nothing is said, or smoothing is forbidden, an adapter without transforms is fine."""
    assert allow_transforms(RICH, read_config()) == RICH
    assert allow_transforms(PLAIN, config("none")) == PLAIN


REFUSED = {
    "strengths without smoothing": (
        PLAIN,
        {"transforms": {"smooth": [0.7]}},
        (
            "Tuner(...): quantization.transforms.smooth: adapter and CPU offer smoothing for no op of this model; "
            "write none, or remove it"
        ),
    ),
    "per token, forbidden and asked for": (
        RICH,
        {"transforms": "none", "activation": {"granularity": "per_token"}},
        (
            "Tuner(...): quantization: activation.granularity per_token is forbidden by quantization.transforms; "
            "remove one of them"
        ),
    ),
}


@pytest.mark.parametrize(("space", "quantization", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_had_is_refused(space, quantization, message):
    """Place, what was asked, what is there, and the cure."""
    with pytest.raises(ConfigError) as caught:
        allow_transforms(space, config(**quantization))
    assert str(caught.value) == message


UNUSED = {
    "allowed and not offered": (PLAIN, {"per_token": True, "bias_correction": True}, "bias_correction or per_token"),
    "no candidate has it any more": (PLAIN, {"smooth": 0.7}, "smooth"),
}


@pytest.mark.parametrize(("narrowed", "transforms", "names"), UNUSED.values(), ids=UNUSED)
def test_allowed_transforms_that_nothing_can_have_are_logged(caplog, narrowed, transforms, names):
    """What was said and makes no difference is told in one line."""
    caplog.set_level(logging.INFO, logger="ilit")
    log_unused(narrowed, config(transforms).transforms)
    assert caplog.messages == [f"Tuner(...): quantization.transforms: nothing in the search space can have {names}"]


def test_transforms_that_are_used_or_not_named_are_not_logged(caplog):
    """Silence where all is well."""
    caplog.set_level(logging.INFO, logger="ilit")
    log_unused(RICH, config({"smooth": 0.5, "per_token": True, "bias_correction": True}).transforms)
    log_unused(PLAIN, read_config().transforms)
    assert caplog.messages == []


def test_per_token_is_of_the_activation():
    """A float candidate has no activation to scale."""
    assert [is_per_token(candidate) for candidate in (TOKEN, DYNAMIC, FLOAT32)] == [True, False, False]


def test_equal_candidates_are_narrowed_once():
    """Ops of a kind share the work, and the result."""
    asked = []

    def narrow(candidates):
        asked.append(candidates)
        return candidates[:1]

    quick = memoized(narrow)
    assert [quick((TOKEN, FLOAT32)), quick((TOKEN, FLOAT32)), quick((DYNAMIC,))] == [(TOKEN,), (TOKEN,), (DYNAMIC,)]
    assert asked == [(TOKEN, FLOAT32), (DYNAMIC,)]
