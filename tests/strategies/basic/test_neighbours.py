"""Few configs that stand for many."""

from __future__ import annotations

import itertools

from ilit.recipe import FLOAT32, OpConfig, QuantSpec
from ilit.testing import DYNAMIC, STATIC, STATIC_KL, WEIGHT_ONLY
from ilit_strategies.basic.neighbours import neighbours

ALGORITHMS = ("minmax", "kl", "percentile", "mse")
MANY = [
    OpConfig("int8", approach, weight, activation)
    for approach in ("static", "dynamic")
    for activation in itertools.starmap(
        QuantSpec, itertools.product(["uint8"], ("asym", "sym"), ["per_tensor"], ALGORITHMS, (8, 7))
    )
    for weight in itertools.starmap(
        QuantSpec, itertools.product(["int8"], ["sym"], ("per_channel", "per_tensor"), ALGORITHMS, (8, 7))
    )
]


def test_a_product_of_parts_becomes_their_sum() -> None:
    """512 configs: one for each other value of each part, all else as in the given one, another approach first."""
    found = neighbours(MANY[0], MANY)

    assert len(MANY) == 512
    assert len(found) == 1 + 3 + 1 + 1 + 1 + 3 + 1
    assert found[0] == OpConfig("int8", "dynamic", MANY[0].weight, MANY[0].activation)
    assert set(found) <= set(MANY)


def test_a_value_that_comes_only_with_others_is_reached_by_the_nearest() -> None:
    """Per-token activations come with an approach, scheme and bits of their own; the nearest such config is taken."""
    activation = QuantSpec("uint8", "sym", "per_token", bits=7)
    weights = [QuantSpec("int8", "sym", "per_channel", algorithm) for algorithm in ("kl", "minmax")]
    tokens = [OpConfig("int8", "dynamic", weight, activation) for weight in weights]

    assert neighbours(STATIC, [STATIC, *tokens]) == [tokens[1], tokens[0]]


def test_float_is_no_variant_and_neither_is_the_config_itself() -> None:
    """Only other INT8 configs are returned."""
    assert neighbours(STATIC, [STATIC, STATIC_KL, DYNAMIC, FLOAT32]) == [DYNAMIC, STATIC_KL]
    assert neighbours(WEIGHT_ONLY, [WEIGHT_ONLY, FLOAT32]) == []
