"""Record the conversations that ``test_conversations.py`` replays, after a change that is meant to ask otherwise.

Run ``python tests/strategies/record_conversations.py`` and read the difference: every line that changed is a request
asked otherwise. Spaces, what stands in for model and data (``World``) and baselines are drawn from a seed each;
``SEEDS`` were picked among a few thousand: together they take every branch of the strategies, and notice when any of
``basic``'s thresholds is moved by half, but the one that only the log depends on.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from test_conversations import DIGITS, FOLDER, STRATEGIES, kind_of, outcome_of

from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.space import CalibrationSize, SearchSpace
from ilit.strategy import Baseline, Request
from ilit.testing import (
    BFLOAT16,
    DYNAMIC,
    EVERY_KIND,
    PER_TOKEN,
    SMOOTHED,
    SPACES,
    STATIC,
    STATIC_KL,
    WEIGHT_ONLY,
    synthetic_space,
)

SEEDS = {
    "basic": (
        "0 1 6 7 13 19 25 27 34 40 45 49 63 64 68 72 89 91 110 123 128 140 144 145 146 148 150 155 165 177 "
        "184 195 202 209 214 215 225 238 242 246 252 256 263 269 271 278 286 287 288 309 310 312 317 331 340 "
        "378 383 393 398 399 400 424 426 437 451 486 500 559 575 612 655 678 880 1155 1269 1343 2065 2237 "
        "2347 2416 2466 3034"
    ),
    "mse": "3 5 7 21 22 23 31 33 34 36 37 40 44 46 47 52 60 63 64 66 71",
    "exhaustive": "2 3 4 5 7 8 12 16 26 28 32 40 46 49 56 60 62 65 70 73 78",
    "random": "5 6 26 29 30 34 37 39 40 42 49 51 55 60 61 63 65 72 73 74",
}
MOST_YIELDS = 40  # of a conversation with a strategy that goes through the whole space


def seven_bits(config: OpConfig, side: str) -> OpConfig:
    """Return the config with 7 bits on one side, ``weight`` or ``activation``."""
    return replace(config, **{side: replace(getattr(config, side), bits=7)})


MSE_WEIGHT = replace(STATIC, weight=QuantSpec("int8", "sym", "per_channel", "mse"))
SMOOTHED_EACH = tuple(replace(STATIC, smoothing=strength) for strength in (0.7, 0.5, 0.9))
SYMMETRIC = replace(STATIC, activation=QuantSpec("uint8", "sym"))
SEVEN = tuple(seven_bits(config, side) for config in (STATIC, SMOOTHED) for side in ("weight", "activation"))
SEVEN_DYNAMIC = tuple(seven_bits(config, "weight") for config in (DYNAMIC, PER_TOKEN))


def named(count: int, *configs: OpConfig) -> dict[str, tuple[OpConfig, ...]]:
    """Return that many ops, name -> candidates."""
    return {f"op.{number}": configs for number in range(count)}


SEARCHED: dict[str, SearchSpace] = {
    **SPACES,
    "plain": synthetic_space(12),
    "plain-many": synthetic_space(40),
    "plain-64": synthetic_space(named(64, STATIC, FLOAT32)),
    "everything": synthetic_space(
        named(10, *EVERY_KIND),
        tuple(CalibrationSize(rows) for rows in (128, 32, 8)),
        {"bias_correction": (True, False)},
        {"op.0": "attention", "op.1": "attention", "op.2": "attention", "op.5": "next", "op.6": "next"},
    ),
    "clipping": synthetic_space(named(14, STATIC, STATIC_KL, SYMMETRIC, DYNAMIC, FLOAT32)),
    "seven-bits": synthetic_space(named(10, *SEVEN, *SEVEN_DYNAMIC, FLOAT32), groups={"op.3": "g", "op.4": "g"}),
    "weights-by-mse": synthetic_space(named(18, STATIC, MSE_WEIGHT, PER_TOKEN, BFLOAT16, FLOAT32)),
    "some-without-float": synthetic_space(
        {**named(9, STATIC, DYNAMIC, FLOAT32), "op.3": (STATIC, STATIC_KL), "op.4": (STATIC, DYNAMIC)}
    ),
    "none-in-float": synthetic_space(named(6, STATIC, STATIC_KL, DYNAMIC)),
    "repaired": synthetic_space(named(24, STATIC, *SMOOTHED_EACH, STATIC_KL, PER_TOKEN, FLOAT32)),
    "weight-only": synthetic_space({**named(8, DYNAMIC, PER_TOKEN, BFLOAT16, FLOAT32), "op.2": (WEIGHT_ONLY, FLOAT32)}),
    "sizes": synthetic_space(5, tuple(CalibrationSize(count, "batches") for count in (10, 5, 2)), {"a": (0.0, 0.5)}),
}


@dataclass(frozen=True)
class World:
    """What stands in for model and data; figures are rounded to six digits.

    Attributes:
        baseline: what is asked of a recipe.
        harm: op -> accuracy lost while it is in INT8.
        visible: the share of the harm that probes see.
        additive: losses add up; otherwise any harmful op loses all.
        cures: configs in which an op does no harm.
        own: config -> the distance an op causes by it, whatever its name.
        spread: tenfold steps by which ``own`` differs from op to op.
        per_distance: accuracy lost for each distance caused by ``own``.
        noise: each figure is off by up to this share, as the recipe's digest says.
        rejected: ops that the engine refuses in INT8: trials and distances fail.
        failing: the share of trials and probes that fail, as the recipe's digest says.
        pruned: a miss by more than this is pruned.
        slow: the objective refuses a recipe with more INT8 ops of ``speeds`` below 1 than this.
        speeds: op -> speed-up in INT8.
        unseen: ops that own-error probes give no figure for.
        aside: calibration or transform -> what distances are multiplied by.
    """

    baseline: Baseline
    harm: Mapping[str, float] = field(default_factory=dict)
    visible: float = 1.0
    additive: bool = True
    cures: tuple[OpConfig, ...] = ()
    own: Mapping[OpConfig, float] = field(default_factory=dict)
    spread: float = 0.0
    per_distance: float = 0.0
    noise: float = 0.0
    rejected: frozenset[str] = frozenset()
    failing: float = 0.0
    pruned: float = math.inf
    slow: float = math.inf
    speeds: Mapping[str, float] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    aside: Mapping[Any, float] = field(default_factory=dict)

    def answer(self, request: Request, ops: list[str]) -> Any:
        """Answer a request in the form of the recordings."""
        kind, recipe, chance = kind_of(request), request.recipe, int(request.recipe.digest[-8:], 16) / 0xFFFFFFFF
        if kind == "op_speeds":
            return [self.speeds.get(name) if recipe.ops[name].quantized else None for name in ops]
        failed = bool(self.rejected & set(recipe.quantized_ops)) or chance < self.failing
        if kind == "trial":
            return ["failed", None, "LoweringError: rejected"] if failed else self._trial(recipe, chance)
        names = recipe.quantized_ops
        seen = {name: self._own(recipe, name) + self.visible * self._harm(recipe, name) for name in names}
        if kind == "distance":
            aside = math.prod(self.aside.get(key, 1.0) for key in (recipe.calibration, *recipe.transforms.values()))
            return math.inf if failed else rounded(math.fsum(seen.values()) * aside * (1 + self.noise * (chance - 0.5)))
        return [
            rounded(seen[name] * (1 + self.noise * (self._chance(recipe, name) - 0.5)))
            if name in seen and name not in self.unseen
            else (math.nan if name in self.rejected else None)
            for name in ops
        ]

    def _trial(self, recipe: Recipe, chance: float) -> list[Any]:
        hurts = [self._harm(recipe, name) for name in recipe.quantized_ops]
        lost = math.fsum(hurts if self.additive or not any(hurts) else self.harm.values())
        lost += self.per_distance * math.fsum(self._own(recipe, name) for name in recipe.quantized_ops)
        tolerated = abs(self.baseline.accuracy - self.baseline.target)
        lost = rounded(lost + self.noise * tolerated * (chance - 0.5) / 4)
        accuracy = rounded(self.baseline.accuracy - (lost if self.baseline.higher_is_better else -lost))
        if lost > tolerated:
            return ["pruned" if lost > self.pruned else "missed", accuracy]
        slow = sum(self.speeds.get(name, 1.0) < 1.0 for name in recipe.quantized_ops)
        return ["passed", accuracy, *(["slower than float32"] if slow > self.slow else [])]

    def _harm(self, recipe: Recipe, name: str) -> float:
        return 0.0 if recipe.ops[name] in self.cures else self.harm.get(name, 0.0)

    def _own(self, recipe: Recipe, name: str) -> float:
        unlike = 10 ** (self.spread * (random.Random(name).random() - 0.5))  # noqa: S311 - a simulation
        return self.own.get(recipe.ops[name], 1e-5) * unlike

    @staticmethod
    def _chance(recipe: Recipe, name: str) -> float:
        return random.Random(f"{name} {recipe.ops[name]}").random()  # noqa: S311 - a simulation


def rounded(value: float) -> float:
    """Return six significant digits, as recordings have them."""
    return float(f"{value:.6g}")


def drawn(strategy: str, seed: int) -> tuple[dict[str, Any], World]:
    """Draw the search and the world that answers it."""
    rng = random.Random(f"{strategy} {seed}")  # noqa: S311 - a simulation
    name = rng.choice(list(SEARCHED))
    space = SEARCHED[name]
    up = rng.random() < 0.8
    baseline = Baseline(
        accuracy=0.9 if up else 0.1,
        target=0.891 if up else 0.11,
        higher_is_better=up,
        stop=rng.choice(["met", "budget", "budget"]),
        objective=rng.choice(["performance", "modelsize"]),
    )
    options = {}
    if strategy == "basic" and rng.random() < 0.3:
        options = {
            "model_wise_trials": rng.choice([1, 2, 3]),
            "model_wise_probes": rng.choice([1, 2, 6]),
            "ranked_ops": rng.choice([4, 10, 48]),
            "repair_candidates": rng.choice([0, 2, 6]),
        }
    about = {"space": name, "options": options, "baseline": asdict(baseline), "seed": seed}
    return about, World(baseline=baseline, **_harms(rng, space), **_troubles(rng, space))


def _harms(rng: random.Random, space: SearchSpace) -> dict[str, Any]:
    """Draw what hurts: few ops, all ops by degrees or a little, or what each config does anywhere."""
    ops, kind = list(space.ops), rng.choice(["few", "few", "few", "graded", "graded", "everywhere", "configs", "none"])
    configs = list(dict.fromkeys(c for op in space.ops.values() for c in op.candidates if c.quantized))
    harm: dict[str, float] = {}
    if kind == "few" and ops:
        size = rng.choice([0.012, 0.02, 0.05, 0.2])
        hurt = rng.sample(ops, min(len(ops), rng.randint(1, 5)))
        harm = {op: size * rng.choice([1, 1, rng.uniform(0.3, 2)]) for op in hurt}
    elif kind == "graded":
        size, ratio = rng.choice([0.01, 0.1, 1.0]), rng.uniform(0.4, 0.9)
        harm = {op: size * ratio**place for place, op in enumerate(rng.sample(ops, len(ops)))}
    elif kind == "everywhere":
        total = rng.choice([1.2, 2, 4, 30]) * 0.009
        shares = [rng.choice([1.0, rng.expovariate(1.0)]) for _ in ops]
        harm = {op: total * share / sum(shares) for op, share in zip(ops, shares, strict=True)}
    scale = rng.choice([1e-6, 1e-5, 3e-4, 2e-3, 2e-2])
    return {
        "harm": harm,
        "visible": rng.choice([1.0, 1.0, 0.0, 0.0, rng.uniform(0, 0.3)]),
        "spread": rng.choice([0.0, 0.5, 2.0]),
        "additive": rng.random() < 0.8,
        "cures": tuple(rng.sample(configs, rng.choice([0, 0, min(1, len(configs)), len(configs) // 3]))),
        "own": {config: scale * rng.choice([1.0, 0.95, rng.uniform(0.01, 1)]) for config in configs},
        "per_distance": rng.choice([0.0, 0.0, rng.uniform(0.5, 8)]) if kind != "configs" else rng.uniform(1, 20),
    }


def _troubles(rng: random.Random, space: SearchSpace) -> dict[str, Any]:
    """Draw what makes answers noisy, missing or refused."""
    ops, asides = list(space.ops), [*map(str, space.calibrations), *itertools.chain(*space.transforms.values())]

    def some(chance: float) -> list[str]:
        return rng.sample(ops, min(len(ops), rng.choice([1, 2]))) if rng.random() < chance else []

    def speeds() -> dict[str, float]:
        if rng.random() < 0.4:
            return {op: rng.choice([0.5, 0.94, 0.96, 2.0]) for op in ops}
        return dict.fromkeys(some(0.6), 0.7)

    return {
        "noise": rng.choice([0.0, 0.1, 0.4]),
        "rejected": frozenset(some(0.1)),
        "failing": rng.choice([0.0] * 8 + [0.1, 0.5, 1.0]),
        "pruned": rng.choice([math.inf, math.inf, 0.03, 0.1]),
        "slow": rng.choice([math.inf, math.inf, 0]),
        "speeds": speeds(),
        "unseen": frozenset(some(0.1)),
        "aside": {aside: rng.choice([1.0, 0.5, 0.9, 3.0]) for aside in asides},
    }


def conversation(strategy: str, seed: int) -> list[Any]:
    """Hold a conversation and return the lines of its recording."""
    about, world = drawn(strategy, seed)
    space, made = SEARCHED[about["space"]], STRATEGIES[strategy]
    search = made(made.Options(**about["options"])).search(space, world.baseline, random.Random(seed))  # noqa: S311 - a simulation
    lines: list[Any] = [{"strategy": strategy, "name": str(seed), **about}]
    ops, reply = list(space.ops), None
    while len(lines) <= MOST_YIELDS or strategy in ("basic", "mse"):
        try:
            asked = search.send(reply)
        except StopIteration:
            return [*lines, "ended"]
        requests = asked if isinstance(asked, tuple) else (asked,)
        said = [[kind_of(r), r.recipe.digest[:DIGITS], world.answer(r, ops)] for r in requests]
        lines.append(said if isinstance(asked, tuple) else said[0])
        outcomes = tuple(outcome_of(kind, answer, ops) for kind, _, answer in said)
        reply = outcomes if isinstance(asked, tuple) else outcomes[0]
        if world.baseline.stop == "met" and any(getattr(outcome, "accepted", False) for outcome in outcomes):
            break
    search.close()
    return [*lines, "closed"]


def recorded(space: SearchSpace) -> dict[str, Any]:
    """Return a space in the form of the recordings."""
    configs = list(dict.fromkeys(config for op in space.ops.values() for config in op.candidates))
    return {
        "configs": [config.to_json() for config in configs],
        "ops": {name: [configs.index(config) for config in op.candidates] for name, op in space.ops.items()},
        "groups": {name: op.group for name, op in space.ops.items() if op.group},
        "calibrations": [[size.count, size.unit] for size in space.calibrations],
        "transforms": {name: list(values) for name, values in space.transforms.items()},
    }


def written(line: Any) -> str:
    """Return a line of JSON."""
    return json.dumps(line, separators=(",", ":"))


def main() -> None:
    """Write the spaces and every strategy's conversations."""
    FOLDER.mkdir(exist_ok=True)
    spaces = ",\n".join(f"{written(name)}:{written(recorded(space))}" for name, space in SEARCHED.items())
    (FOLDER / "spaces.json").write_text(f"{{\n{spaces}\n}}\n", encoding="utf-8")
    for strategy, seeds in SEEDS.items():
        lines = itertools.chain(*(conversation(strategy, seed) for seed in map(int, seeds.split())))
        text = "".join(written(line) + "\n" for line in lines)
        (FOLDER / f"{strategy}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
