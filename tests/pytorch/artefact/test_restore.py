"""A tuned model is built into the architecture it was tuned in, or the one given is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ilit.adapter import Cpu
from ilit.errors import ArtefactError, IlitWarning
from ilit_pytorch.artefact import files
from ilit_pytorch.engine import cpu


@pytest.fixture
def saved(stubbed: Any, tmp_path: Path) -> SimpleNamespace:
    """Return a stubbed net in mixed precision, written."""
    files.save(stubbed.lower(static=["conv1", "conv3"], dynamic=["head"]), tmp_path)
    return SimpleNamespace(folder=tmp_path, bench=stubbed)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda net: setattr(net, "extra", torch.nn.Linear(2, 2)), "lacks extra.weight"),
        (lambda net: setattr(net, "norm3", torch.nn.BatchNorm2d(4)), "is (8,), the architecture given has (4,)"),
        (lambda net: setattr(net, "norm3", torch.nn.Identity()), "has no norm3."),
        (lambda net: setattr(net, "head", torch.nn.Linear(32, 9)), "head.weight is (10, 32)"),
        (lambda net: delattr(net, "head"), "no module 'head'"),
    ],
    ids=["more", "other shape", "less", "other INT8 shape", "no such op"],
)
def test_another_architecture_is_refused(saved: Any, nets: Any, change: Callable[[Any], Any], text: str) -> None:
    """A model that is not the tuned one is never filled in part."""
    skeleton = nets.StubbedConvNet().fused()
    change(skeleton)
    with pytest.raises(ArtefactError) as caught:
        files.load(saved.folder, skeleton)
    assert text in str(caught.value)


def test_another_cpu_class_is_warned_of(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes chosen for one class may saturate on the other; the warning points at the line that loads."""
    here = cpu.describe()
    other = Cpu(here.model, "avx2", "A" if here.int8_class == "V" else "V", 1)
    monkeypatch.setattr(cpu, "describe", lambda: other)
    with pytest.warns(IlitWarning, match="tune again on this CPU") as warned:
        files.load(saved.folder, saved.bench.model)
    assert [warning.filename for warning in warned] == [__file__]


def test_another_class_is_refused(bench: Callable[..., Any], tmp_path: Path) -> None:
    """A model of another class that happens to have the same layers is not what was tuned."""

    class Other(torch.nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2

    layers = (torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    subject = bench(torch.nn.Sequential(*layers), torch.randn(16, 8))
    subject.adapter.save(subject.lower(static=["0"]), tmp_path)
    with pytest.raises(ArtefactError, match="is a tuned Sequential, the architecture given is a Other"):
        files.load(tmp_path, Other(*layers))
    assert np.isfinite(subject.run(files.load(tmp_path, torch.nn.Sequential(*layers)))).all()
