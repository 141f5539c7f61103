"""Loading is measured in processes of its own, and a process that fails is told in one line."""

from __future__ import annotations

import pytest

from ilit.errors import ModelError
from ilit_bert.measuring import fresh_load
from ilit_bert.measuring.fresh_load import LoadCost, load_costs


def test_each_form_is_loaded_in_a_fresh_process(sentiment, tuned_sentiment):
    """Both forms are read and run; what is resident afterwards is never more than the peak."""
    costs = load_costs({"fp32": str(sentiment / "checkpoint"), "int8": str(tuned_sentiment)}, 1, 1)
    assert list(costs) == ["fp32", "int8"]
    assert all(cost.seconds > 0 and cost.resident_bytes <= cost.peak_bytes for cost in costs.values())


def test_forms_take_turns_and_medians_are_told(monkeypatch):
    """A median of each figure; one that is not known once is not known."""
    log = []

    def load(form, source, threads):
        log.append((form, source, threads))
        return LoadCost(float(len(log)), None if form == "int8" else len(log), 9)

    monkeypatch.setattr(fresh_load, "_in_fresh_process", load)
    costs = load_costs({"fp32": "a", "int8": "b"}, 3, 2)
    assert log == [("fp32", "a", 2), ("int8", "b", 2)] * 3
    assert costs == {"fp32": LoadCost(3.0, 3, 9), "int8": LoadCost(4.0, None, None)}


def test_a_process_that_fails_is_one_line(tmp_path):
    """With the folder, the last line of what it said, and a way on."""
    with pytest.raises(ModelError, match=r"none: cannot be loaded in a fresh process \(.*no such folder.*--loads 0"):
        load_costs({"fp32": str(tmp_path / "none")}, 1, 1)
