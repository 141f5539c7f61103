"""Strategy ``basic``: few evaluations, few ops in float, the planted ops found."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ilit
import ilit_strategies.plugin
from ilit.recipe import FLOAT32, OpConfig, Recipe
from ilit.space import CalibrationSize
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Outcome,
    Probe,
    ProbeOutcome,
    Request,
    Trial,
    TrialOutcome,
)
from ilit.testing import (
    ANSWERS,
    DYNAMIC,
    EVERY_KIND,
    PER_TOKEN,
    SMOOTHED,
    SPACES,
    STATIC,
    STATIC_KL,
    Answer,
    StrategyContract,
    fake_data,
    fake_model,
    fake_plugins,
    planted,
    simulate,
    synthetic_space,
)
from ilit_strategies.basic import Basic
from ilit_strategies.basic.group_plan import promised

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


def probed(probe: Probe, distance: float, reason: str = "", speedups: dict[str, float] | None = None) -> ProbeOutcome:
    """Return the outcome of the probe's kind; the ops' own errors are not known."""
    match probe:
        case DistanceProbe():
            return DistanceOutcome(distance, reason)
        case OpErrorProbe():
            return OpErrorOutcome({}, reason)
        case OpSpeedProbe():
            return OpSpeedOutcome(speedups or {}, reason)


def smallest_hit(evaluated: list[Recipe], answer: Answer) -> Recipe:
    """Return the recipe that passed with the fewest ops in float."""
    hits = [recipe for recipe in evaluated if answer(Trial(recipe)).status == "passed"]
    return min(hits, key=lambda recipe: len(recipe.float_ops))


def test_what_costs_nothing_is_chosen_op_by_op_and_may_be_the_only_evaluation() -> None:
    """Where another clipping algorithm is better for one op, that op alone takes it before anything is evaluated."""
    space = synthetic_space({f"layer.{number}": (STATIC, STATIC_KL, FLOAT32) for number in range(38)})

    def beside(config: OpConfig) -> float:
        return 1e-4 if config == STATIC_KL else 1e-6

    (only,) = trials(space, planted({"layer.3": 0.2}, MET, harmless=[STATIC_KL], background=beside))

    assert [name for name, config in only.ops.items() if config == STATIC_KL] == ["layer.3"]


def test_two_planted_ops_of_38_cost_one_evaluation_after_the_first() -> None:
    """The demo's case: the first recipe misses by far, the next has exactly the planted ops in float and passes."""
    evaluated = trials(synthetic_space(38), planted({"layer.5": 0.2, "layer.20": 0.1}, MET))

    assert [recipe.float_ops for recipe in evaluated] == [(), ("layer.5", "layer.20")]


def test_saturated_damage_is_still_told_apart() -> None:
    """Two ops that each wreck the model alone hide behind each other, but not when probed alone."""
    fatal = {"layer.7", "layer.30"}

    def answer(request: Request) -> Outcome:
        hurt = len(fatal & set(request.recipe.quantized_ops))
        if isinstance(request, Trial):
            return TrialOutcome("missed" if hurt else "passed", 0.4 if hurt else 0.9)
        if isinstance(request, OpErrorProbe):
            return OpErrorOutcome(dict.fromkeys(request.recipe.quantized_ops, 0.1))
        noise = int(request.recipe.digest[:4], 16) / 0xFFFF / 10
        return DistanceOutcome(1.2 + noise if hurt else 1e-5 * len(request.recipe.quantized_ops))

    evaluated = trials(synthetic_space(38), answer)

    assert set(evaluated[-1].float_ops) == fatal
    assert len(evaluated) == 2


def test_more_accurate_int8_configs_of_growing_number_come_before_any_op_goes_to_float() -> None:
    """Harm that is everywhere: half of what is to be gained, then all of it, no op in float."""
    noise = {STATIC: 3e-4, SMOOTHED: 2e-4, PER_TOKEN: 2e-5}
    space = synthetic_space({f"layer.{n}": (STATIC, SMOOTHED, PER_TOKEN, FLOAT32) for n in range(38)})
    quiet = planted({}, MET, background=lambda config: noise.get(config, 0.0))

    def answer(request: Request) -> Outcome:
        if isinstance(request, Probe):
            return quiet(request)
        lost = 4.0 * sum(noise.get(config, 0.0) for config in request.recipe.ops.values())
        return TrialOutcome("missed" if lost > 0.009 else "passed", 0.9 - lost)

    evaluated = trials(space, answer)

    assert [recipe.float_ops for recipe in evaluated] == [(), (), ()]
    assert set(evaluated[0].ops.values()) == {SMOOTHED}
    assert Counter(evaluated[1].ops.values()) == {PER_TOKEN: 19, SMOOTHED: 19}
    assert set(evaluated[2].ops.values()) == {PER_TOKEN}


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
            return probed(request, math.inf if rejected else 0.001, "rejected" if rejected else "")
        return TrialOutcome("failed", None, "rejected") if rejected else TrialOutcome("passed", 0.9)

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


def test_what_the_objective_rejects_is_followed_by_other_recipes() -> None:
    """A recipe that passes and is too slow neither ends the search nor counts as a miss."""

    def answer(request: Request) -> Outcome:
        if isinstance(request, Probe):
            return probed(request, 0.001)
        fast = set(request.recipe.ops.values()) == {STATIC_KL}
        return TrialOutcome("passed", 0.9, objection=None if fast else "slower than float32")

    space = synthetic_space({"a": (STATIC, STATIC_KL, FLOAT32), "b": (STATIC, STATIC_KL, FLOAT32)})

    assert [recipe.ops["a"] for recipe in trials(space, answer, model_wise_trials=1)] == [STATIC, STATIC_KL]


def test_where_all_is_rejected_the_ops_that_are_slow_in_int8_go_to_float() -> None:
    """A timing, not a trial, shows which ops make a recipe that passes slower than float32."""

    def answer(request: Request) -> Outcome:
        if isinstance(request, Probe):
            return probed(request, 0.001, speedups={"layer.1": 0.5, "layer.2": 1.5})
        fast = request.recipe.ops["layer.1"] == FLOAT32
        return TrialOutcome("passed", 0.9, objection=None if fast else "slower than float32")

    assert [recipe.float_ops for recipe in trials(SPACES["four-ops"], answer)] == [(), ("layer.1",)]


def test_with_a_budget_a_hit_in_cheap_int8_leaves_nothing_to_improve() -> None:
    """Where every op is in the config that costs least, the search ends by itself after one evaluation."""
    evaluated = trials(SPACES["four-ops"], ANSWERS["all-accepted"], BUDGET)

    assert [set(recipe.ops.values()) for recipe in evaluated] == [{STATIC}]


def test_with_a_budget_more_accurate_configs_that_are_not_needed_are_taken_back() -> None:
    """Of ops that gained by a more accurate config only the harmful one keeps it."""
    noise = {STATIC: 3e-4, DYNAMIC: 1e-4}
    space = synthetic_space(38)
    answer = planted(
        {"layer.5": 0.02}, BUDGET, harmless=[DYNAMIC], visible=False, background=lambda config: noise.get(config, 0.0)
    )

    evaluated = trials(space, answer, BUDGET)

    hits = [recipe for recipe in evaluated if answer(Trial(recipe)).status == "passed"]
    assert not any(recipe.float_ops for recipe in evaluated)
    assert [name for name, config in hits[-1].ops.items() if config == DYNAMIC] == ["layer.5"]
    assert len(evaluated) <= 3 + 1 + math.ceil(math.log2(38))


def test_a_hit_without_float_leaves_nothing_to_put_back() -> None:
    """Where one op's more accurate config cures all, no op goes to float, whatever the budget."""
    answer = planted({"layer.5": 0.012}, BUDGET, harmless=[DYNAMIC], background=5e-4)

    evaluated = trials(synthetic_space(38), answer, BUDGET)

    assert len(evaluated) == 2
    assert not any(recipe.float_ops for recipe in evaluated)


@pytest.mark.parametrize("options", [{}, {"model_wise_probes": 2}], ids=["defaults", "two-probes"])
def test_probes_before_the_first_evaluation_are_few(options: dict[str, int]) -> None:
    """At most 8 whole-model probes and 16 of the ops' own errors, however many configs the space has."""
    space = synthetic_space(
        dict.fromkeys("abcd", EVERY_KIND),
        tuple(CalibrationSize(n) for n in (8, 16, 32)),
        {"bias_correction": (True, False)},
    )

    made = simulate(Basic(Basic.Options(**options)), space, planted({}, MET), baseline=MET)

    probes = [request for request in made if isinstance(request, Probe)]
    assert isinstance(made[-1], Trial)
    assert len(made) == len(probes) + 1
    assert sum(isinstance(probe, DistanceProbe) for probe in probes) <= options.get("model_wise_probes", 8)
    assert sum(isinstance(probe, OpErrorProbe) for probe in probes) <= 16


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


@settings(max_examples=40)
@given(
    count=st.sampled_from([40, 74, 100, 146, 150]),
    seed=st.randoms(use_true_random=False),
    planted_ops=st.integers(1, 8),
    additive=st.booleans(),
)
def test_damage_that_only_the_evaluation_sees_is_found(count: int, seed: Any, planted_ops: int, additive: bool) -> None:
    """With a budget exactly the harmful ops are left in float, in 2 + k (ceil(log2(n / k)) + 2) evaluations."""
    space = synthetic_space(count)
    wanted = dict.fromkeys(seed.sample(list(space.ops), planted_ops), 0.05)
    answer = planted(wanted, BUDGET, visible=False, additive=additive)

    evaluated = trials(space, answer, BUDGET)

    assert set(smallest_hit(evaluated, answer).float_ops) == set(wanted)
    assert 1 + len(evaluated) <= 2 + promised(count, planted_ops)


def test_a_loss_that_does_not_fall_with_the_distance_is_sought_by_trials() -> None:
    """Where probes see some damage that is not the harm, one repair shows it, and group tests find the op."""
    noise = {STATIC: 1e-3, DYNAMIC: 1e-4}
    answer = planted({"layer.30": 0.05}, BUDGET, visible=False, background=lambda config: noise.get(config, 0.0))

    evaluated = trials(synthetic_space(38), answer, BUDGET)

    assert smallest_hit(evaluated, answer).float_ops == ("layer.30",)
    assert 1 + len(evaluated) <= 2 + promised(38, 1)


@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize(("ops", "lost"), [(20, 0.002), (38, 0.0003), (146, 0.0005)])
def test_harm_that_is_everywhere_costs_no_trial_for_each_op(ops: int, lost: float, visible: bool) -> None:
    """Where each op costs a little, the fewest that must be in float are bisected, whatever their number."""
    answer = planted({f"layer.{number}": lost for number in range(ops)}, BUDGET, visible=visible)

    evaluated = trials(synthetic_space(ops), answer, BUDGET)

    assert len(smallest_hit(evaluated, answer).float_ops) == math.ceil(ops - 0.009 / lost - 1e-9)
    assert len(evaluated) <= 2 + 2 * math.ceil(math.log2(ops))


@given(seed=st.randoms(use_true_random=False), planted_ops=st.integers(1, 3))
def test_damage_that_only_the_evaluation_sees_is_repaired_at_the_first_hit(seed: Any, planted_ops: int) -> None:
    """Up to the first hit the evaluations stay within the bound of the docstring, and there is a hit."""
    space = synthetic_space(38)
    answer = planted(dict.fromkeys(seed.sample(list(space.ops), planted_ops), 0.05), MET, visible=False)

    evaluated = trials(space, answer)

    assert answer(Trial(evaluated[-1])).status == "passed"
    assert len(evaluated) <= 2 + 4 * (1 + 2 * math.ceil(math.log2(38)))


def test_what_basic_says_stands_in_the_log_of_the_run(tmp_path: Path) -> None:
    """A run's ``log.txt`` takes what the logger ``ilit`` and those below it say, so strategies log below it."""
    model = fake_model(ops=8, sensitive=["layer3"])
    conf = {"framework": {"name": "fake"}, "tuning": {"metric": "fake_accuracy"}, "run": {"folder": str(tmp_path)}}
    tuner = ilit.Tuner(conf, plugins=fake_plugins(strategies=ilit_strategies.plugin))

    tuner.tune(model, fake_data(model, seed=2), fake_data(model))

    assert tuner.result is not None
    assert "basic: most harmful ops: layer3" in (tuner.result.folder / "log.txt").read_text()


@pytest.mark.parametrize(
    "options",
    [{"model_wise_trials": 0}, {"ranked_ops": 0}, {"repair_candidates": -1}, {"model_wise_trails": 2}],
    ids=["no-trials", "no-ranking", "negative", "misspelt"],
)
def test_bad_options_are_refused(options: dict[str, int]) -> None:
    """A value out of range or a misspelt option is an error."""
    with pytest.raises(pydantic.ValidationError):
        Basic.Options(**options)
