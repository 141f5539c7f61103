"""What the adapter suite tries an adapter with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ilit.space import CalibrationSize
from ilit.testing import AdapterCase, FakeAccuracy, FakeAdapter, fake_data, fake_model
from ilit.testing.adapter_case import OnlyIter, Prepared


def test_a_prepared_case_lowers_its_recipe_and_runs_the_first_batch() -> None:
    """The model is the recipe's, the outputs those of batch 0, and a second call lowers anew."""
    model, adapter = fake_model(), FakeAdapter()
    batches = fake_data(model, 64)
    space = replace(adapter.describe(model, batches[0]), calibrations=(CalibrationSize(64),))
    calibration = adapter.calibrate(model, batches, space)
    case = AdapterCase(adapter, model, batches, FakeAccuracy, state=repr)
    prepared = Prepared(case, space, calibration, space.recipe({}))

    lowered = prepared.lowered()

    assert lowered.recipe == prepared.recipe
    assert lowered is not prepared.lowered()
    assert np.array_equal(prepared.outputs(lowered), lowered(batches[0][0]))


@pytest.mark.parametrize("call", [len, bool])
def test_a_loader_that_allows_iter_alone_can_be_iterated_again(call: Callable[[OnlyIter], object]) -> None:
    """``len`` and the truth value raise, as they may for a user's loader."""
    loader = OnlyIter([1, 2])

    assert [list(loader), list(loader)] == [[1, 2], [1, 2]]
    with pytest.raises(TypeError, match=r"only iter\(\) may be called on a loader"):
        call(loader)
