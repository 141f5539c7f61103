"""Few configs that stand for many: those that differ from a given one in a single part."""

from __future__ import annotations

from collections.abc import Iterable

from ilit.recipe import OpConfig, QuantSpec


def neighbours(config: OpConfig, allowed: Iterable[OpConfig]) -> list[OpConfig]:
    """Return for each part of a config and each value it has in ``allowed`` the INT8 config nearest to ``config``.

    Nearest has most parts in common; among equals the first of ``allowed`` counts. The order is that of the parts:
    first another approach, then what concerns the activation (where INT8 mostly hurts), then the weight. 320 configs
    that are all combinations of 8 parts with 2 to 4 values each become 12.
    """
    here = _parts(config)
    distinct = [other for other in dict.fromkeys(allowed) if other.quantized]
    by_nearness = sorted(distinct, key=lambda other: sum(a != b for a, b in zip(_parts(other), here, strict=True)))
    nearest: dict[tuple[int, object], OpConfig] = {}
    for other in by_nearness:
        for place in enumerate(_parts(other)):
            nearest.setdefault(place, other)
    in_order = [nearest[place] for place in sorted(nearest, key=lambda place: place[0])]
    return [other for other in dict.fromkeys(in_order) if other != config]


def _parts(config: OpConfig) -> tuple[object, ...]:
    """Return the parts varied one at a time; some dtypes and granularities come only with a scheme or an approach."""
    weight, activation = config.weight or QuantSpec(), config.activation or QuantSpec()
    return (
        (config.approach, activation.granularity),
        activation.algorithm,
        (activation.scheme, activation.dtype),
        activation.bits,
        weight.granularity,
        (weight.scheme, weight.dtype),
        weight.algorithm,
        weight.bits,
    )
