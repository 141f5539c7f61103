"""The receipt says which INT8 kernels ran, aloud where they did not, and is read as it was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ilit.adapter import KernelCalls, KernelProfile
from ilit.errors import ArtefactError
from ilit.recipe import FLOAT32, OpConfig, QuantSpec, Recipe
from ilit.report.receipt import RECEIPT, Receipt, read_receipt, slower_ops, write_receipt
from ilit.result import TrialRecord
from ilit.run.records import Probed
from ilit.strategy import DistanceOutcome, OpSpeedOutcome

INT8 = OpConfig("int8", "dynamic", QuantSpec(), QuantSpec("uint8", "asym"))
OTHER = replace(INT8, approach="static")
PROFILE = KernelProfile(
    (KernelCalls("matmul", ("a",), 35, 0.05, 700), KernelCalls("embed", ("b",), 1, 0.021, 30)),
    (KernelCalls("add", (), 4, 0.029, 80),),
)
RECEIPT_OF_ALL = Receipt(PROFILE, 36)
NOTHING_RAN = Receipt(KernelProfile((), PROFILE.others, ("a", "b")), 36)


@pytest.mark.parametrize(
    ("receipt", "text"),
    [
        pytest.param(RECEIPT_OF_ALL, "36 INT8 kernels ran in one batch, 71 % of its time", id="all"),
        pytest.param(
            Receipt(KernelProfile(PROFILE.int8[1:], ()), 1),
            "1 INT8 kernel ran in one batch, 100 % of its time",
            id="one",
        ),
        pytest.param(NOTHING_RAN, "0 INT8 kernels ran in one batch, 0 % of its time; none for a, b", id="nothing"),
        pytest.param(
            replace(RECEIPT_OF_ALL, slower={"a": 0.83}),
            "36 INT8 kernels ran in one batch, 71 % of its time; slower than in float32: a (0.83 times as fast)",
            id="slower",
        ),
        pytest.param(
            Receipt(replace(PROFILE, ops_without=("", *"bcdef")), 42),
            "36 INT8 kernels ran in one batch, 71 % of its time; none for the model itself, b, c, d and 2 more",
            id="many",
        ),
        pytest.param(Receipt(KernelProfile((), ()), 0), "0 INT8 kernels ran in one batch, 0 % of its time", id="empty"),
    ],
)
def test_the_receipt_is_one_line(receipt: Receipt, text: str) -> None:
    """Kernels and their share of the time, then what speaks against the model."""
    assert receipt.sentence == text


def test_what_did_not_run_is_a_doubt() -> None:
    """Nothing at all, or nothing of some ops; a model without INT8 ops is none."""
    assert RECEIPT_OF_ALL.doubt == Receipt(KernelProfile((), ()), 0).doubt == ""
    assert NOTHING_RAN.doubt.startswith("no INT8 kernel ran in one batch, though 36 should")
    some = Receipt(replace(PROFILE, ops_without=("c",)), 37)
    assert some.doubt.startswith("no INT8 kernel ran in one batch for c: ")


def test_several_ops_may_share_a_kernel() -> None:
    """Fewer kernels than ops are no doubt as long as each op had one."""
    assert Receipt(PROFILE, 40).doubt == ""


def test_ops_timed_as_slower_are_named() -> None:
    """Of a recipe's INT8 ops, those with the config that was timed; the last timing counts, and noise does not."""
    recipe = Recipe({"a": INT8, "b": INT8, "c": INT8, "d": FLOAT32})
    other = recipe.with_ops({"b": OTHER})
    trials = (TrialRecord(1, recipe, "missed"), TrialRecord(2, other, "passed"))
    speedups = {"a": 0.5, "b": 0.6, "c": 0.97, "d": 0.1}
    probes = (
        Probed(1, recipe.digest, DistanceOutcome(0.1)),
        Probed(2, recipe.digest, OpSpeedOutcome(speedups)),
        Probed(3, other.digest, OpSpeedOutcome({"a": 0.75})),
        Probed(4, "another", OpSpeedOutcome({"c": 0.1})),
    )
    assert slower_ops(probes, trials, recipe) == {"a": 0.75, "b": 0.6}
    assert slower_ops(probes, trials, other) == {"a": 0.75}
    assert slower_ops((), trials, recipe) == {}


def test_a_receipt_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Format version 1, with the figures of the line for programs; a folder without one has none."""
    assert read_receipt(tmp_path) is None
    receipt = Receipt(replace(PROFILE, ops_without=("c",)), 37, {"a": 0.83})
    write_receipt(tmp_path, receipt)
    assert read_receipt(tmp_path) == receipt
    data = json.loads((tmp_path / RECEIPT).read_text())
    assert (data["version"], data["int8_kernels"], data["int8_kernels_ran"]) == (1, 37, 36)
    assert (data["int8_share"], data["seconds"]) == pytest.approx((0.71, 0.1))
    assert data["int8"][0] == {"kernel": "matmul", "ops": ["a"], "calls": 35, "seconds": 0.05, "bytes": 700}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"version": 2}', "format version 2, here 1 is read", id="newer"),
        pytest.param("{", "is damaged", id="no JSON"),
        pytest.param("[]", "is damaged", id="a list"),
        pytest.param('{"version": 1, "int8": [{}]}', "is damaged", id="a row without figures"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    """With the file and what to do."""
    (tmp_path / RECEIPT).write_text(text)
    with pytest.raises(ArtefactError, match=message) as caught:
        read_receipt(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
