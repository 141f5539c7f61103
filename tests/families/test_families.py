"""Families of transformers are tuned whole: no op fails for its form, and what comes out can be loaded alone.

``nox -s families`` runs all; plain ``pytest`` runs one of each kind of architecture.
"""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

import ilit
from ilit_bert.plugin import FLOAT_EMBEDDINGS

ROWS, CALIBRATION_BATCHES, EVALUATION_BATCHES = 16, 2, 5
OPS = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.Embedding, Conv1D)


@dataclass(frozen=True)
class Tuned:
    """A family's model, what it was before, and what tuning it gave."""

    given: Any
    before: Any
    inputs: dict[str, torch.Tensor]
    model: Any
    result: ilit.TuneResult


@pytest.fixture(scope="module")
def tuned(family: Any, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    """Tune the family towards its own answers, by size, so that the machine's speed decides nothing."""
    torch.manual_seed(9527)
    given = family.model()
    before = copy.deepcopy(given)
    inputs = [family.inputs(ROWS) for _ in range(CALIBRATION_BATCHES + EVALUATION_BATCHES)]
    batches = [(batch, family.answers(before, batch)) for batch in inputs]
    calibration, evaluation = batches[:CALIBRATION_BATCHES], batches[CALIBRATION_BATCHES:]
    one_answer_a_row = batches[0][1].ndim == 1 and family.scores == "logits"
    tuning = {"objective": "modelsize", "accuracy_criterion": {"absolute": 0.5}}
    conf = {
        "tuning": {**tuning, "metric": "accuracy"} if one_answer_a_row else tuning,
        "calibration": {"samples": ROWS * CALIBRATION_BATCHES},
        "run": {"folder": str(tmp_path_factory.mktemp("runs"))},
    }

    def share_of_right(model: Any) -> float:
        right = [(family.answers(model, batch) == answers).float().mean() for batch, answers in evaluation]
        return float(torch.stack(right).mean())

    judged: dict[str, Any] = {"eval_dataloader": evaluation} if one_answer_a_row else {"eval_func": share_of_right}
    tuner = ilit.Tuner(conf)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no recipe met", ilit.IlitWarning)  # the first test tells that better
        model = tuner.tune(given, calibration, **judged, on_miss="closest")
    assert tuner.result is not None
    return Tuned(given, before, inputs[-1], model, tuner.result)


@pytest.fixture(scope="module", autouse=True)  # used by all, so that it starts while the first family is tuned
def fresh_process() -> Iterator[Callable[[Path], str]]:
    """Return a function that has another process answer for a run folder; one process serves all families."""
    command = [sys.executable, Path(__file__).with_name("answer.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdin is not None
        assert process.stdout is not None
        told, heard = process.stdin, process.stdout

        def ask(folder: Path) -> str:
            told.write(f"{folder}\n")
            told.flush()
            return heard.readline().strip()

        yield ask
        told.close()


def called_ops(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> set[str]:
    """Return the paths of the float32 Linears, convolutions and Embeddings that one forward pass calls."""
    watched, called = copy.deepcopy(model), set()
    for path, module in watched.named_modules():
        if isinstance(module, OPS) and module.weight.dtype == torch.float32:
            module.register_forward_pre_hook(lambda _module, _args, path=path: called.add(path))
    with torch.no_grad():
        watched(**inputs)
    return called


def test_a_recipe_meets_the_criterion(tuned: Tuned) -> None:
    """The family is tuned to its end."""
    assert tuned.result.met, tuned.result.reason


def test_no_trial_fails(tuned: Tuned) -> None:
    """No op's form is found out by a trial."""
    assert [trial.reason for trial in tuned.result.trials if trial.status == "failed"] == []


def test_what_stays_in_float_has_its_reason(tuned: Tuned) -> None:
    """Every op that the forward calls runs in INT8, or the result says why not; small embeddings stay by a rule."""
    assert tuned.result.closest is not None, tuned.result.reason
    reasons = tuned.result.left_in_float
    left = called_ops(tuned.before, tuned.inputs) - {*tuned.result.closest.recipe.quantized_ops}

    assert [path for path in sorted(left) if not (path.endswith(FLOAT_EMBEDDINGS) or reasons.get(path))] == []


def test_the_artefact_loads_alone(tuned: Tuned, fresh_process: Callable[[Path], str]) -> None:
    """Another process builds the model from its folder, and it answers with the same bits."""
    assert tuned.model is not None, tuned.result.reason
    folder = tuned.result.folder
    save_file(tuned.inputs, folder / "inputs.safetensors")
    with torch.no_grad():
        wanted = {name: value for name, value in tuned.model(**tuned.inputs).items() if isinstance(value, torch.Tensor)}

    assert fresh_process(folder) == "ok"
    found = load_file(folder / "outputs.safetensors")
    assert {name for name in wanted.keys() | found.keys() if not same(found.get(name), wanted.get(name))} == set()


def same(found: torch.Tensor | None, wanted: torch.Tensor | None) -> bool:
    """Whether both are there, with the same bits."""
    return found is not None and wanted is not None and torch.equal(found, wanted)


def test_the_model_given_is_untouched(tuned: Tuned) -> None:
    """Parameters, buffers, modes and config are what they were, and nothing hangs on a module."""
    given, before = tuned.given, tuned.before
    now, then = ({**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (given, before))

    assert now.keys() == then.keys()
    assert [name for name in now if not same(now[name], then[name])] == []
    assert given.config.to_dict() == before.config.to_dict()
    for module, old in zip(given.modules(), before.modules(), strict=True):
        assert (type(module), module.training) == (type(old), old.training)
        assert module._forward_hooks.keys() == old._forward_hooks.keys()
