"""Fixtures for the suites: one law of ``AdapterContract``, tried on any adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ilit.testing import AdapterCase, AdapterContract, FakeAccuracy, FakeAdapter, fake_data, fake_model

MODEL = fake_model()
BATCHES = fake_data(MODEL, 64)


@pytest.fixture
def check_law(tmp_path: Path) -> Callable[[FakeAdapter, str], None]:
    """Return a function that runs one test of ``AdapterContract`` on an adapter, each time in a folder of its own."""

    def check(adapter: FakeAdapter, law: str) -> None:
        folder = tmp_path / str(sum(1 for _ in tmp_path.iterdir()))
        folder.mkdir()
        suite, test = AdapterContract(), getattr(AdapterContract, law)
        case = AdapterCase(adapter, replace(MODEL), BATCHES, FakeAccuracy, state=lambda model: model.training)
        given: dict[str, Any] = {"case": case, "tmp_path": folder}
        wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]
        if "prepared" in wanted:
            fixture: Any = AdapterContract.prepared
            given["prepared"] = getattr(fixture, "__wrapped__", fixture)(suite, case)
        test(suite, **{name: given[name] for name in wanted})

    return check
