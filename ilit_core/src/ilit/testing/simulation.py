"""A strategy without a model: spaces to search, answers that stand in for model and data, and the driver."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize, Op, SearchSpace
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Outcome,
    Request,
    Strategy,
    Trial,
    TrialOutcome,
)

Answer = Callable[[Request], Outcome]
"""Stands in for model and data: gives each request its outcome. The same request must get the same one."""

STATIC = OpConfig("int8", "static", QuantSpec("int8", "sym", "per_channel"), QuantSpec("uint8", "asym"))
STATIC_KL = OpConfig("int8", "static", STATIC.weight, QuantSpec("uint8", "asym", algorithm="kl"))
DYNAMIC = OpConfig("int8", "dynamic", STATIC.weight, QuantSpec("uint8", "asym"))
WEIGHT_ONLY = OpConfig("int8", "weight_only", QuantSpec("int8", "sym", "per_channel"))
SMOOTHED = replace(STATIC, smoothing=0.7)
SMOOTHED_MORE = replace(STATIC, smoothing=0.9)
PER_TOKEN = OpConfig("int8", "dynamic", STATIC.weight, QuantSpec("uint8", "sym", "per_token"))
BFLOAT16 = OpConfig("bfloat16")
EVERY_KIND = (STATIC, STATIC_KL, SMOOTHED, SMOOTHED_MORE, DYNAMIC, PER_TOKEN, BFLOAT16, FLOAT32)

BASELINE = Baseline(accuracy=0.9, target=0.891, stop="budget")


class EndlessError(AssertionError):
    """A strategy made more requests than ``simulate`` was told to allow."""


def simulate(
    strategy: Strategy,
    space: SearchSpace,
    answer: Answer,
    seed: int = 9527,
    baseline: Baseline = BASELINE,
    limit: int = 10_000,
) -> list[Request]:
    """Run a strategy without model or data and return every request it made, in order, tuples laid flat.

    Listens as the search loop does: to the end, or, where ``baseline.stop`` is ``met``, up to the first accepted
    trial, at which the generator is closed. Unlike the loop it has no memo: a recipe asked for twice is twice in the
    list.

    Raises:
        EndlessError: more than ``limit`` requests.
        TypeError: the strategy yielded something other than a request or a tuple of requests.
    """
    generator = strategy.search(space, baseline, random.Random(seed))  # noqa: S311 - a seeded search, not a secret
    made: list[Request] = []
    try:
        asked = next(generator)
        while True:
            requests = requests_of(strategy, asked)
            made.extend(requests)
            if len(made) > limit:
                raise EndlessError(f"strategy '{strategy.name}' made more than {limit} requests and did not end")
            outcomes = tuple(answer(request) for request in requests)
            if baseline.stop == "met" and any(isinstance(o, TrialOutcome) and o.accepted for o in outcomes):
                return made
            asked = generator.send(outcomes if isinstance(asked, tuple) else outcomes[0])
    except StopIteration:
        return made
    finally:
        generator.close()


def requests_of(strategy: Strategy, asked: object) -> tuple[Request, ...]:
    """Return one yield of a strategy as a tuple of requests.

    Raises:
        TypeError: it is something else.
    """
    requests = asked if isinstance(asked, tuple) else (asked,)
    if not requests or not all(isinstance(request, Request) for request in requests):
        raise TypeError(f"strategy '{strategy.name}' yielded {asked!r}, not a Trial, a probe or a tuple of them")
    return requests


def synthetic_space(
    ops: Mapping[str, tuple[OpConfig, ...]] | int,
    calibrations: tuple[CalibrationSize, ...] = (CalibrationSize(128),),
    transforms: Mapping[str, tuple[str | int | float | bool, ...]] = MappingProxyType({}),
    groups: Mapping[str, str] = MappingProxyType({}),
) -> SearchSpace:
    """Return a space of linear ops: name -> candidates, or that many ops of STATIC, DYNAMIC or float32.

    ``groups`` names for each op that shares its input the group; the others read an input of their own.
    """
    if isinstance(ops, int):
        ops = {f"layer.{number}": (STATIC, DYNAMIC, FLOAT32) for number in range(ops)}
    made = {name: Op(name, "linear", configs, groups.get(name, "")) for name, configs in ops.items()}
    return SearchSpace(made, calibrations, transforms)


def planted(
    harm: Mapping[str, float],
    baseline: Baseline = BASELINE,
    visible: bool = True,
    harmless: Collection[OpConfig] = (),
    background: float | Callable[[OpConfig], float] = 1e-5,
    additive: bool = True,
) -> Answer:
    """Return an answer in which INT8 hurts exactly the named ops, so that a test can count evaluations to find them.

    Args:
        harm: op name -> accuracy lost while that op runs in INT8.
        baseline: gives float32's accuracy, the target and the metric's direction.
        visible: whether probes see it too: each op's distance is its ``harm``. Otherwise only trials know.
        harmless: INT8 configs that do not hurt the named ops, such as a dynamic one among static ones.
        background: the distance that every INT8 op causes beside, or what gives it for the op's config.
        additive: whether losses add up; otherwise any harmful op costs as much as all of them.
    """

    def hurt(recipe: Recipe) -> dict[str, float]:
        return {name: harm.get(name, 0.0) if recipe.ops[name] not in harmless else 0.0 for name in recipe.quantized_ops}

    def answer(request: Request) -> Outcome:
        hurts = hurt(request.recipe)
        if isinstance(request, Trial):
            lost = math.fsum(hurts.values() if additive or not any(hurts.values()) else harm.values())
            accuracy = baseline.accuracy - lost if baseline.higher_is_better else baseline.accuracy + lost
            passed = lost <= abs(baseline.accuracy - baseline.target)
            return TrialOutcome("passed" if passed else "missed", accuracy)
        if isinstance(request, OpSpeedProbe):
            return OpSpeedOutcome({})
        beside = background if callable(background) else lambda _: background
        seen = {n: beside(request.recipe.ops[n]) + (figure if visible else 0.0) for n, figure in hurts.items()}
        return OpErrorOutcome(seen) if isinstance(request, OpErrorProbe) else DistanceOutcome(math.fsum(seen.values()))

    return answer
