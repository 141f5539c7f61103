"""Strategy ``basic``: few evaluations, few ops in float, the planted ops found."""

from __future__ import annotations

import math
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.recipe import FLOAT32, Recipe
from ilit.strategy import Baseline, Outcome, Probe, ProbeOutcome, Request, Trial, TrialOutcome
from ilit.testing.strategies import (
    ANSWERS,
    DYNAMIC,
    SPACES,
    STATIC,
    STATIC_KL,
    Answer,
    StrategyContract,
    planted,
    simulate,
    synthetic_space,
)
from ilit_strategies.basic import Basic, enough_distance, loss
from ilit_strategies.candidates import Candidate

MET = Baseline(0.9, 0.891, stop="met")
BUDGET = Baseline(0.9, 0.891, stop="budget")


class TestContract(StrategyContract):
    """The public suite."""

    @pytest.fixture
    def strategy(self) -> Basic:
        """Return ``basic``."""
        return Basic(Basic.Options())


def trials(space: Any, answer: Answer, baseline: Baseline = MET, **options: Any) -> list[Recipe]:
    """Return the recipes ``basic`` has evaluated."""
    made = simulate(Basic(Basic.Options(**options)), space, answer, baseline=baseline)
    return [request.recipe for request in made if isinstance(request, Trial)]


def smallest_hit(evaluated: list[Recipe], answer: Answer) -> Recipe:
    """Return the recipe that passed with the fewest ops in float."""
    hits = [recipe for recipe in evaluated if answer(Trial(recipe)).status == "passed"]
    return min(hits, key=lambda recipe: len(recipe.float_ops))


def test_the_closest_model_wise_recipe_is_evaluated_first_and_may_be_the_last() -> None:
    """Where the first passes, it is the only evaluation, and it is the one the probes prefer."""
    space = synthetic_space(38)
    answer = planted({"layer.3": 0.2}, MET, harmless=[DYNAMIC])

    (only,) = trials(space, answer)

    assert set(only.ops.values()) == {DYNAMIC}


def test_two_planted_ops_of_38_cost_one_evaluation_after_the_first() -> None:
    """The demo's case: the first recipe misses by far, the next has exactly the planted ops in float and passes."""
    evaluated = trials(synthetic_space(38), planted({"layer.5": 0.2, "layer.20": 0.1}, MET))

    assert [recipe.float_ops for recipe in evaluated] == [(), ("layer.5", "layer.20")]


def test_saturated_damage_is_still_told_apart() -> None:
    """Two ops that each wreck the model alone hide behind each other, but not when probed alone."""
    wreckers = {"layer.7", "layer.30"}

    def answer(request: Request) -> Outcome:
        hurt = len(wreckers & set(request.recipe.quantized_ops))
        if isinstance(request, Trial):
            return TrialOutcome("missed" if hurt else "passed", 0.4 if hurt else 0.9, accepted=not hurt)
        noise = int(request.recipe.digest[:4], 16) / 0xFFFF / 10
        distance = 1.2 + noise if hurt else 1e-5 * len(request.recipe.quantized_ops)
        return ProbeOutcome(distance, dict.fromkeys(request.recipe.quantized_ops, 0.1) if request.per_op else {})

    evaluated = trials(synthetic_space(38), answer)

    assert set(evaluated[-1].float_ops) == wreckers
    assert len(evaluated) == 2


def test_a_near_miss_tries_the_next_model_wise_recipe_before_any_op_goes_to_float() -> None:
    """Two model-wise recipes of about the same distance are both evaluated where the first misses by little."""

    def answer(request: Request) -> Outcome:
        if isinstance(request, Probe):
            errors = dict.fromkeys(request.recipe.quantized_ops, 0.001)
            return ProbeOutcome(0.01 / 38 * len(request.recipe.quantized_ops), errors if request.per_op else {})
        floats = len(request.recipe.float_ops)
        return TrialOutcome("passed" if floats else "missed", 0.8915 if floats else 0.889, accepted=bool(floats))

    evaluated = trials(synthetic_space(38), answer)

    assert [set(recipe.ops.values()) for recipe in evaluated[:2]] == [{STATIC}, {DYNAMIC}]
    assert len(evaluated) <= 5  # six with the baseline


def test_an_int8_repair_comes_before_float() -> None:
    """Where dynamic cures the harmful op and hurts others, only that op becomes dynamic and nothing is in float."""
    space = synthetic_space(38)

    def answer(request: Request) -> Outcome:
        dynamic = [n for n, config in request.recipe.ops.items() if config == DYNAMIC and n != "layer.4"]
        harm = dict.fromkeys(dynamic, 0.01) | ({"layer.4": 0.1} if request.recipe.ops["layer.4"] == STATIC else {})
        return planted(harm, MET)(request)

    evaluated = trials(space, answer)

    assert evaluated[-1].float_ops == ()
    assert [name for name, config in evaluated[-1].ops.items() if config == DYNAMIC] == ["layer.4"]
    assert len(evaluated) == 2
    assert trials(space, answer, repair_candidates=0)[-1].float_ops == ("layer.4",)


def test_a_repair_works_where_float_is_not_allowed() -> None:
    """Without float32 in the space the harmful op takes its other INT8 config."""
    space = synthetic_space({f"op.{n}": (STATIC, STATIC_KL) for n in range(6)})

    def answer(request: Request) -> Outcome:
        kl = [n for n, config in request.recipe.ops.items() if config == STATIC_KL and n != "op.2"]
        harm = dict.fromkeys(kl, 0.05) | ({"op.2": 0.1} if request.recipe.ops["op.2"] == STATIC else {})
        return planted(harm, MET)(request)

    evaluated = trials(space, answer)

    assert [name for name, config in evaluated[-1].ops.items() if config == STATIC_KL] == ["op.2"]
    assert answer(Trial(evaluated[-1])).status == "passed"


def test_an_op_the_engine_rejects_goes_to_float() -> None:
    """Every recipe with that op in INT8 fails, probes too; the search finds it and goes on."""

    def answer(request: Request) -> Outcome:
        rejected = request.recipe.ops["layer.9"].quantized
        if isinstance(request, Probe):
            return ProbeOutcome(math.inf if rejected else 0.001, reason="rejected" if rejected else "")
        return TrialOutcome("failed", None, "rejected") if rejected else TrialOutcome("passed", 0.9, accepted=True)

    evaluated = trials(synthetic_space(38), answer)

    assert [recipe.float_ops for recipe in evaluated] == [(), ("layer.9",)]


def test_a_hopeless_recipe_is_not_evaluated() -> None:
    """A model-wise recipe at many times the distance of one that missed is skipped."""
    space = synthetic_space(20)

    def answer(request: Request) -> Outcome:
        return planted(
            dict.fromkeys(space.ops, 0.01) if DYNAMIC in request.recipe.ops.values() else {"layer.1": 0.012}, MET
        )(request)

    evaluated = trials(space, answer, repair_candidates=0)

    assert all(DYNAMIC not in recipe.ops.values() for recipe in evaluated)


def test_what_the_objective_rejects_is_followed_by_other_model_wise_recipes() -> None:
    """A recipe that passes and is too slow neither ends the search nor counts as a miss."""

    def answer(request: Request) -> Outcome:
        if isinstance(request, Probe):
            return ProbeOutcome(0.001)
        fast = set(request.recipe.ops.values()) == {STATIC_KL}
        return TrialOutcome("passed", 0.9, "" if fast else "slower than float32", accepted=fast)

    space = synthetic_space({"a": (STATIC, DYNAMIC, STATIC_KL, FLOAT32), "b": (STATIC, DYNAMIC, STATIC_KL, FLOAT32)})

    assert [recipe.ops["a"] for recipe in trials(space, answer, model_wise_trials=1)] == [STATIC, DYNAMIC, STATIC_KL]


def test_with_a_budget_every_promising_model_wise_recipe_is_evaluated() -> None:
    """The best by the objective may be any of them, so a hit does not end the search."""
    evaluated = trials(SPACES["four-ops"], ANSWERS["all-accepted"], BUDGET)

    assert [set(recipe.ops.values()) for recipe in evaluated] == [{STATIC}, {DYNAMIC}]


def test_a_hit_among_the_model_wise_recipes_leaves_nothing_to_repair() -> None:
    """Where one misses and another passes in INT8 throughout, no op goes to float, whatever the budget."""
    answer = planted({"layer.5": 0.012}, BUDGET, harmless=[DYNAMIC], background=1e-2)

    evaluated = trials(synthetic_space(38), answer, BUDGET)

    assert len(evaluated) == 2
    assert not any(recipe.float_ops for recipe in evaluated)


def test_metrics_where_lower_is_better() -> None:
    """The closest recipe and the loss follow the metric's direction."""
    baseline = Baseline(0.10, 0.11, higher_is_better=False)

    evaluated = trials(synthetic_space(38), planted({"layer.5": 0.2}, baseline), baseline)

    assert evaluated[-1].float_ops == ("layer.5",)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_float_model_is_never_evaluated(space: Any, answer: Answer) -> None:
    """The all-float recipe is the baseline: nothing is to be learned from it."""
    for request in simulate(Basic(Basic.Options()), space, answer):
        assert request.recipe.quantized_ops


@given(
    count=st.sampled_from([12, 38, 74, 146]),
    seed=st.randoms(use_true_random=False),
    planted_ops=st.integers(1, 5),
    stop=st.sampled_from(["met", "budget"]),
)
def test_damage_that_probes_see_is_found(count: int, seed: Any, planted_ops: int, stop: Any) -> None:
    """All planted ops found in 2 + ceil(log2 n) evaluations with the baseline's, at most one op more in float."""
    space, baseline = synthetic_space(count), Baseline(0.9, 0.891, stop=stop)
    wanted = {name: seed.uniform(0.02, 0.2) for name in seed.sample(list(space.ops), planted_ops)}
    answer = planted(wanted, baseline)

    evaluated = trials(space, answer, baseline)
    hit = smallest_hit(evaluated, answer)

    assert set(wanted) <= set(hit.float_ops)
    assert len(hit.float_ops) <= planted_ops + 1
    assert 1 + len(evaluated) <= 2 + math.ceil(math.log2(count))


@given(count=st.sampled_from([12, 38, 74, 146]), seed=st.randoms(use_true_random=False), planted_ops=st.integers(1, 3))
def test_damage_that_only_the_evaluation_sees_is_found(count: int, seed: Any, planted_ops: int) -> None:
    """With a budget exactly the planted ops are left in float, within the bound of the docstring."""
    space = synthetic_space(count)
    wanted = dict.fromkeys(seed.sample(list(space.ops), planted_ops), 0.05)
    answer = planted(wanted, BUDGET, visible=False)

    evaluated = trials(space, answer, BUDGET)

    assert set(smallest_hit(evaluated, answer).float_ops) == set(wanted)
    steps = math.ceil(math.log2(count))
    assert len(evaluated) <= 2 + 4 * (2 + steps) + 1 + planted_ops * (1 + steps)


@given(seed=st.randoms(use_true_random=False), planted_ops=st.integers(1, 3))
def test_damage_that_only_the_evaluation_sees_is_repaired_at_the_first_hit(seed: Any, planted_ops: int) -> None:
    """Up to the first hit the evaluations stay within the bound of the docstring, and there is a hit."""
    space = synthetic_space(38)
    answer = planted(dict.fromkeys(seed.sample(list(space.ops), planted_ops), 0.05), MET, visible=False)

    evaluated = trials(space, answer)

    assert answer(Trial(evaluated[-1])).status == "passed"
    assert len(evaluated) <= 2 + 4 * (1 + 2 * math.ceil(math.log2(38)))


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (TrialOutcome("missed", 0.8), 0.1),
        (TrialOutcome("passed", 0.95), -0.05),
        (TrialOutcome("failed", None), math.inf),
        (TrialOutcome("pruned", 0.2), math.inf),
        (TrialOutcome("missed", math.nan), math.inf),
    ],
    ids=["missed", "better-than-float", "failed", "pruned", "nan"],
)
def test_loss(outcome: TrialOutcome, expected: float) -> None:
    """The loss is in the metric's unit, infinite where it is not known."""
    assert loss(outcome, MET) == pytest.approx(expected)


def test_loss_where_lower_is_better() -> None:
    """A metric that rose by 0.05 lost 0.05."""
    assert loss(TrialOutcome("missed", 0.15), Baseline(0.10, 0.11, higher_is_better=False)) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("distance", "accuracy", "expected"),
    [(0.2, 0.88, 0.09), (0.2, 0.0, 0.002), (0.2, None, 0.05), (math.inf, None, 0.05), (0.2, 0.9, 0.05)],
    ids=["proportional", "never-finer-than-a-hundredth", "accuracy-unknown", "distance-unknown", "lost-nothing"],
)
def test_enough_distance(distance: float, accuracy: float | None, expected: float) -> None:
    """The distance that should do is the tolerated share of the loss, where both are known."""
    candidate = Candidate(SPACES["one-op"].recipe({}), distance)

    assert enough_distance(candidate, TrialOutcome("missed", accuracy), MET) == pytest.approx(expected)


@pytest.mark.parametrize(
    "options",
    [{"model_wise_trials": 0}, {"ranked_ops": 0}, {"repair_candidates": -1}, {"model_wise_trails": 2}],
    ids=["no-trials", "no-ranking", "negative", "misspelt"],
)
def test_bad_options_are_refused(options: dict[str, int]) -> None:
    """A value out of range or a misspelt option is an error."""
    with pytest.raises(pydantic.ValidationError):
        Basic.Options(**options)
