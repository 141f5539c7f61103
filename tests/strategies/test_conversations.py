"""Recorded conversations: sent the same outcomes, a strategy asks for the same requests in the same order.

``tests/data/conversations`` holds the spaces and one file of JSON lines for each strategy. A conversation is a line
that says what was searched, a line for each yield (a list of requests where a tuple was yielded, each ``[kind, first
digits of the recipe's digest, answer]``) and the line ``"ended"`` or, where nobody listened any more, ``"closed"``.
A change that is meant to ask for other requests records them anew: see ``record_conversations.py``.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ilit.recipe import OpConfig
from ilit.space import CalibrationSize, Op, SearchSpace
from ilit.strategy import (
    Baseline,
    DistanceOutcome,
    DistanceProbe,
    OpErrorOutcome,
    OpErrorProbe,
    OpSpeedOutcome,
    OpSpeedProbe,
    Outcome,
    Request,
    Trial,
    TrialOutcome,
)
from ilit_strategies import plugin

FOLDER = Path(__file__).parents[1] / "data" / "conversations"
STRATEGIES: dict[str, Any] = {strategy.name: strategy for strategy in plugin.ilit_strategies()}
DIGITS = 16  # of a recipe's digest


KINDS = {Trial: "trial", DistanceProbe: "distance", OpErrorProbe: "op_errors", OpSpeedProbe: "op_speeds"}


def kind_of(request: Request) -> str:
    """Return the kind of a request, as recordings name it."""
    return KINDS[type(request)]


def outcome_of(kind: str, answer: Any, ops: list[str]) -> Outcome:
    """Build the outcome that a recorded answer stands for.

    Args:
        kind: what was asked for.
        answer: of a trial its status, accuracy and, where there is one, the objection or error; a distance; or a figure
            for each op of the space in order, null where there was none.
        ops: the names of the space's ops.
    """
    if kind == "trial":
        status, accuracy, reason = [*answer, ""][:3]
        if status == "passed":
            return TrialOutcome(status, accuracy, objection=reason or None)
        return TrialOutcome(status, accuracy, reason)
    if kind == "distance":
        return DistanceOutcome(answer)
    figures = {name: figure for name, figure in zip(ops, answer, strict=False) if figure is not None}
    return OpErrorOutcome(figures) if kind == "op_errors" else OpSpeedOutcome(figures)


def space_of(recorded: dict[str, Any]) -> SearchSpace:
    """Build a recorded space: its configs, for each op the places of its own in them, and what else there is."""
    configs = [OpConfig.from_json(config) for config in recorded["configs"]]
    ops = {
        name: Op(name, "linear", tuple(configs[place] for place in places), recorded["groups"].get(name, ""))
        for name, places in recorded["ops"].items()
    }
    sizes = tuple(CalibrationSize(count, unit) for count, unit in recorded["calibrations"])
    return SearchSpace(ops, sizes, {name: tuple(values) for name, values in recorded["transforms"].items()})


def conversations() -> list[Any]:
    """Return the recorded conversations, what was searched and the lines of each, as cases of a test."""
    cases = []
    for file in sorted(FOLDER.glob("*.jsonl")):
        about, lines = {}, list[Any]()
        for line in map(json.loads, file.read_text(encoding="utf-8").splitlines()):
            if isinstance(line, dict):
                about, lines = line, []
                cases.append(pytest.param(about, lines, id=f"{about['strategy']}-{about['name']}"))
            else:
                lines.append(line)
    return cases


def without_answers(line: Any) -> Any:
    """Return a recorded line as it is before it is answered: what was asked for, or the end."""
    if isinstance(line, str):
        return line
    return [request[:2] for request in line] if isinstance(line[0], list) else line[:2]


def as_recorded(asked: Any) -> Any:
    """Return what a strategy yielded in the form of ``without_answers``."""
    if isinstance(asked, tuple):
        return [as_recorded(request) for request in asked]
    return asked if isinstance(asked, str) else [kind_of(asked), asked.recipe.digest[:DIGITS]]


@pytest.mark.parametrize(("about", "lines"), conversations())
def test_the_same_outcomes_get_the_same_requests(about: dict[str, Any], lines: list[Any]) -> None:
    """From the first request to the end, tuples as tuples; it is closed where nobody listens any more."""
    space = space_of(json.loads((FOLDER / "spaces.json").read_text(encoding="utf-8"))[about["space"]])
    strategy, rng = STRATEGIES[about["strategy"]], random.Random(about["seed"])  # noqa: S311 - a simulation
    search = strategy(strategy.Options(**about["options"])).search(space, Baseline(**about["baseline"]), rng)
    reply: Any = None
    for number, line in enumerate(lines, start=1):
        if line == "closed":
            search.close()
            return
        try:
            asked = search.send(reply)
        except StopIteration:
            asked = "ended"
        assert as_recorded(asked) == without_answers(line), f"at yield {number}"
        if line != "ended":
            said = line if isinstance(asked, tuple) else [line]
            outcomes = tuple(outcome_of(kind, answer, list(space.ops)) for kind, _, answer in said)
            reply = outcomes if isinstance(asked, tuple) else outcomes[0]
