"""Passes take turns, and medians and quartiles say what their times do."""

from __future__ import annotations

import pytest

from ilit_bert.measuring.passes import deviation, interleave, is_busy, ratio


class Machine:
    """Models that take a time of their own on a clock of their own; ``log`` has the order in which they ran."""

    def __init__(self, **seconds):
        self.now, self.log, self.seconds = 0.0, [], seconds

    def passes(self):
        """Return one pass of each model."""
        return {name: lambda name=name: self.run(name) for name in self.seconds}

    def run(self, name):
        """Let the time of a pass go by."""
        self.log.append(name)
        self.now += self.seconds[name]

    def clock(self):
        """Return the time."""
        return self.now


def test_models_take_turns_and_the_first_changes():
    """After two rounds that warm up, each model is timed once a round, and each begins in its turn."""
    machine = Machine(a=0.25, b=0.5, c=1.0)
    seconds = interleave(machine.passes(), 3, machine.clock)
    assert "".join(machine.log) == "abcabc" + "abcbcacab"
    assert seconds == {"a": [0.25] * 3, "b": [0.5] * 3, "c": [1.0] * 3}


@pytest.mark.parametrize(("each", "rounds"), [(0.125, 12), (2.0, 7), (2.0**-20, 999), (0.0, 999)])
def test_a_case_takes_about_three_seconds(each, rounds):
    """Slow models run 7 rounds, quick ones 999, whatever that takes."""
    machine = Machine(a=each, b=each)
    seconds = interleave(machine.passes(), clock=machine.clock)
    assert {len(times) for times in seconds.values()} == {rounds}


def test_the_ratio_is_of_medians_and_its_quartiles_of_pairs():
    """One slow pass moves neither; a pair is what ran in one round."""
    found = ratio([4.0, 4.0, 4.0, 4.0, 40.0], [2.0, 2.5, 2.0, 1.6, 2.0])
    assert (found.of_medians, found.low, found.high) == (2.0, 2.0, 2.5)
    assert ratio([3.0], [2.0]) == ratio([3.0, 3.0], [2.0, 2.0])


def test_a_busy_machine_shows_in_the_deviation():
    """Single outliers do not count, a spread of more than a tenth does."""
    assert deviation([1.0, 1.0, 9.0]) == 0.0
    assert not is_busy([1.0, 1.05, 0.95, 1.0, 9.0])
    assert is_busy([1.0, 1.3, 0.7, 1.4, 0.6])
