"""How many evaluations ``basic`` takes to find harmful ops, simulated, against what is promised.

Run ``python bench/strategies.py [--runs 12] [--out bench/results/strategies.md]``. No model and no data: k of n ops
lose accuracy while they are in INT8, and ``ilit.testing.planted`` answers in place of everything else.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from ilit.space import SearchSpace
from ilit.strategy import Baseline, Outcome, Request, Trial, TrialOutcome
from ilit.testing import Answer, planted, simulate, synthetic_space
from ilit_strategies.basic import Basic
from ilit_strategies.basic.group_plan import promised

OPS = (40, 64, 74, 100, 128, 146, 150)
HARMFUL = range(1, 9)
STEP = 0.05  # lost by each harmful op; 0.009 is tolerated
TOTALS = (1.5, 2, 4, 8)  # times the tolerated loss, from all ops together
EVERYWHERE = (
    "All ops together lose so many times what is tolerated, each its own share of that (exponential). Mean and worst",
    "evaluations; mean of the ops in float beyond the fewest that would do.",
)
NOISE = 0.003  # standard deviation of a noisy score: a third of what is tolerated


@dataclass(frozen=True)
class Case:
    """One kind of harm and one way to stop.

    Attributes:
        name: for the table.
        stop: ``met`` or ``budget``.
        visible: probes see the harm.
        additive: losses add up; otherwise any harmful op loses all.
        noisy: the score has noise of its own.
    """

    name: str
    stop: Literal["met", "budget"]
    visible: bool
    additive: bool = True
    noisy: bool = False

    def bound(self, ops: int, harmful: int) -> int:
        """Return the promised evaluations, the float32 baseline and the all-INT8 recipe included."""
        return 2 + (math.ceil(math.log2(ops)) if self.visible else promised(ops, harmful))


CASES = (
    Case("probes see it, stop at the first hit", "met", visible=True),
    Case("probes see it, budget", "budget", visible=True),
    Case("only the score knows, losses add up, budget", "budget", visible=False),
    Case("only the score knows, all or nothing, budget", "budget", visible=False, additive=False),
    Case("only the score knows, losses add up, noise, budget", "budget", visible=False, noisy=True),
)


@dataclass(frozen=True)
class Found:
    """What one search came to: evaluations with the baseline's, ops needlessly in float, harmful ops missed."""

    evaluations: int
    more: int
    missed: int


def places(ops: int, harmful: int, runs: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield positions of the harmful ops: first, last, spread, then at random."""
    yield list(range(harmful))
    yield list(range(ops - harmful, ops))
    yield [round(index * (ops - 1) / max(1, harmful - 1)) for index in range(harmful)]
    for _ in range(runs):
        yield rng.sample(range(ops), harmful)


def noisy(answer: Answer, baseline: Baseline) -> Answer:
    """Return ``answer`` with noise on the score, the same for the same recipe."""

    def answered(request: Request) -> Outcome:
        outcome = answer(request)
        if not isinstance(request, Trial) or not isinstance(outcome, TrialOutcome) or outcome.accuracy is None:
            return outcome
        score = outcome.accuracy + random.Random(request.recipe.digest).gauss(0.0, NOISE)  # noqa: S311 - a simulation
        passed = score >= baseline.target
        return replace(outcome, status="passed" if passed else "missed", accuracy=score)

    return answered


def search(case: Case, space: SearchSpace, harmful: list[int]) -> Found:
    """Run one search; where the score is noisy, the last recipe that passed counts."""
    baseline = Baseline(0.9, 0.891, stop=case.stop)
    names = [list(space.ops)[place] for place in harmful]
    answer = planted(dict.fromkeys(names, STEP), baseline, visible=case.visible, additive=case.additive)
    if case.noisy:
        answer = noisy(answer, baseline)
    evaluations, floats = searched(space, answer, baseline)
    return Found(evaluations, len(floats - set(names)), len(set(names) - floats))


def searched(space: SearchSpace, answer: Answer, baseline: Baseline) -> tuple[int, set[str]]:
    """Run one search; return its evaluations with the baseline's, and the ops in float of its smallest hit."""
    made = simulate(Basic(Basic.Options()), space, answer, baseline=baseline)
    trials = [request.recipe for request in made if isinstance(request, Trial)]
    hits = [recipe for recipe in trials if getattr(answer(Trial(recipe)), "accepted", False)]
    return 1 + len(trials), set(min(hits, key=lambda recipe: len(recipe.float_ops)).float_ops) if hits else set()


def row(case: Case, ops: int, runs: int) -> str:
    """Return a table row: for each k the mean and worst evaluations against the bound, and what went wrong."""
    space, rng, cells, wrong = synthetic_space(ops), random.Random(ops), list[str](), list[str]()  # noqa: S311 - a simulation
    for harmful in HARMFUL:
        found = [search(case, space, where) for where in places(ops, harmful, runs, rng)]
        worst, bound = max(one.evaluations for one in found), case.bound(ops, harmful)
        cells.append(f"{fmean(one.evaluations for one in found):.1f}, {worst} / {bound}{' !' if worst > bound else ''}")
        more, missed = sum(one.more > 0 for one in found), sum(one.missed > 0 for one in found)
        if more or missed:
            wrong.append(f"k = {harmful}: {more} with more in float, {missed} with one missed, of {len(found)}")
    return f"| {ops} | {' | '.join(cells)} | {'; '.join(wrong) or 'exact'} |"


def everywhere_row(ops: int, visible: bool, runs: int) -> str:
    """Return a table row for harm in every op: for each total, evaluations, and ops in float beyond the fewest."""
    baseline, space = Baseline(0.9, 0.891, stop="budget"), synthetic_space(ops)
    rng, cells = random.Random(ops), list[str]()  # noqa: S311 - a simulation
    for total in TOTALS:
        found = []
        for _ in range(runs):
            shares = {name: rng.expovariate(1.0) for name in space.ops}
            harm = {name: 0.009 * total * share / sum(shares.values()) for name, share in shares.items()}
            evaluations, floats = searched(space, planted(harm, baseline, visible=visible), baseline)
            found.append((evaluations, len(floats) - fewest(harm, baseline)))
        made, beyond = zip(*found, strict=True)
        cells.append(f"{fmean(made):.1f}, {max(made)}; +{fmean(beyond):.1f}")
    return f"| {ops} | {'yes' if visible else 'no'} | {' | '.join(cells)} |"


def fewest(harm: dict[str, float], baseline: Baseline) -> int:
    """Return how many ops must at least be in float: those that lose most."""
    left, count = sum(harm.values()), 0
    for lost in sorted(harm.values(), reverse=True):
        if left <= baseline.accuracy - baseline.target:
            break
        left, count = left - lost, count + 1
    return count


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=12, help="random places beside first, last and spread")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        f"Simulated with `python bench/strategies.py --runs {arguments.runs}`: evaluations of `basic` until the search",
        "ends by itself (first table: at its first hit), the float32 baseline included; mean, worst / bound.",
        "Bounds: 2 + ceil(log2 n) where probes see the harm, else 2 + k (ceil(log2(n / k)) + 2).",
        "`!` marks a worst case beyond. The last column compares the ops left in float with the harmful ones.",
        f"Noise has a standard deviation of {NOISE}, a third of the tolerated loss: a trial in a thousand errs, and a",
        "harmless op that it blames stays in float.",
    ]
    for case in CASES:
        lines += ["", f"## {case.name[0].upper()}{case.name[1:]}", ""]
        lines += [f"| n | {' | '.join(f'k = {k}' for k in HARMFUL)} | ops in float |", "|---" * 10 + "|"]
        for ops in OPS:
            lines.append(row(case, ops, arguments.runs))
            print(lines[-1], flush=True)
    lines += ["", "## Harm in every op, adding up, budget", "", *EVERYWHERE, ""]
    lines += [f"| n | probes see it | {' | '.join(f'{total} times' for total in TOTALS)} |", "|---" * 6 + "|"]
    for ops in OPS:
        for visible in (True, False):
            lines.append(everywhere_row(ops, visible, arguments.runs))
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
