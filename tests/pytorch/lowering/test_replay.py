"""Saved float32 activations: which blocks they stand for, and when they are not used."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ilit.recipe import FLOAT32, Recipe
from ilit_pytorch.lowering.replay import pays, record
from ilit_pytorch.model.clone import structural_clone


class Blocks(torch.nn.Module):
    """Three blocks and a head; what is done to the second's output is the caller's."""

    def __init__(self, use: Callable[[Any, torch.Tensor], torch.Tensor] = lambda own, x: x) -> None:
        super().__init__()
        self.blocks, self.head = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(3)), torch.nn.Linear(8, 3)
        self.use = use

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.use(self, self.blocks[1](self.blocks[0](x)))
        return self.head(self.blocks[2](x))


def recipe_of(subject: Any, config: Any, *ops: str) -> Recipe:
    """Return the recipe with these ops in INT8."""
    return Recipe({name: config if name in ops else FLOAT32 for name in subject.ops}, "1 batches")


@pytest.mark.parametrize(
    ("ops", "saved"), [(["head"], 3), (["blocks.2"], 2), (["blocks.1", "head"], 1), (["blocks.0"], 0), ([], 0)]
)
def test_blocks_before_the_first_changed_op_give_what_was_saved(
    bench: Callable[..., Any], nets: Any, ops: list[str], saved: int
) -> None:
    """For each probe batch its own; blocks from the first changed one on are computed."""
    subject = bench(Blocks(), torch.randn(16, 8))
    recipe, structure = recipe_of(subject, nets.STATIC, *ops), subject.calibration.structure
    batches = [subject.inputs, 2 * subject.inputs]
    replay, clone = record(subject.model, structure, batches), structural_clone(subject.model)
    wanted = [subject.model(batch) for batch in batches]
    replay.apply_to(clone, recipe)
    replaced = [name for name in replay.blocks if not isinstance(clone.get_submodule(name), torch.nn.Linear)]
    assert replaced == [f"blocks.{number}" for number in range(saved)]
    assert pays(subject.model, structure, recipe) == (saved > 0)
    for number in range(2):
        replay.batch = number
        given = torch.zeros_like(subject.inputs) if saved else batches[number]  # saved blocks read nothing
        assert torch.equal(clone(given), wanted[number])


UNUSABLE: dict[str, tuple[Callable[[Any, torch.Tensor], torch.Tensor], str]] = {
    "a block runs twice": (lambda own, x: own.blocks[0](x), "the model's blocks do not each run once"),
    "an output is written to": (lambda own, x: x.add_(1.0), "what blocks.1 gives is written to later"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_nothing_is_saved_where_it_would_be_wrong(
    bench: Callable[..., Any], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The log says why."""
    use, reason = UNUSABLE[name]
    subject = bench(Blocks(use), torch.randn(16, 8))
    with caplog.at_level(logging.INFO, "ilit.pytorch"):
        replay = record(subject.model, subject.calibration.structure, [subject.inputs])
    assert (replay.blocks, replay.outputs) == ((), [])
    assert reason in caplog.text


def test_a_model_without_a_list_of_blocks_is_probed_whole(bench: Callable[..., Any], nets: Any) -> None:
    """Where ops lie in one part alone there is nothing to go on from."""
    subject = bench(torch.nn.Sequential(torch.nn.Linear(8, 3), torch.nn.ReLU()), torch.randn(16, 8))
    assert record(subject.model, subject.calibration.structure, [subject.inputs]).blocks == ()
    assert not pays(subject.model, subject.calibration.structure, recipe_of(subject, nets.STATIC, "0"))
