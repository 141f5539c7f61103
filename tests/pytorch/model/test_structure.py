"""The structure of a model as others read it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ilit_pytorch.model.structure import Fold, Island, OpSite, Structure


def test_json_has_the_names_of_saved_statistics() -> None:
    """Digests of calibrations in old journals are made of these."""
    structure = Structure({"a": OpSite("linear", source="s")}, {"s": ("a",)}, escaping_stubs=("t",))
    site = {"kind": "linear", "relu": False, "source": "s", "island": -1, "computed": False, "computing": []}
    assert json.loads(json.dumps(structure.to_json())) == {
        "sites": {"a": site}, "shared": {"s": ["a"]}, "leaky": ["t"], "islands": [], "dequant_stubs": [], "left": {},
    }  # fmt: skip
    folded = replace(structure, folds={"a": Fold("b", "c")}).to_json()
    assert folded == {**structure.to_json(), "folds": {"a": {"norm": "b", "relu": "c"}}}
    assert replace(structure, channels_last=True).to_json() == {**structure.to_json(), "channels_last": True}


@pytest.mark.parametrize(
    ("site", "axis"),
    [
        (OpSite("linear"), -1), (OpSite("conv1d"), -2), (OpSite("conv2d"), -3), (OpSite("conv3d"), -4),
        (OpSite("embedding"), None), (OpSite("linear", island=0), None),
    ],
    ids=["linear", "conv1d", "conv2d", "conv3d", "embedding", "in an island"],
)  # fmt: skip
def test_where_channels_are(site: OpSite, axis: int | None) -> None:
    """Counted from the end, so that unbatched inputs have them there too."""
    assert site.channel_axis == axis


def test_readers_of_a_stub_have_one_input() -> None:
    """Its name in calibration is the stub's output; an op alone reads its own input."""
    structure = Structure(
        {"a": OpSite("linear", source="s"), "b": OpSite("linear", source="s"), "c": OpSite("linear")}, {"s": ("a", "b")}
    )
    assert [(structure.input_of(op), structure.readers_of(op)) for op in "abc"] == [
        ("s:out", ("a", "b")),
        ("s:out", ("a", "b")),
        ("c:in", ("c",)),
    ]


def test_a_functionals_output_is_seen_inside_it() -> None:
    """Other modules of an island are hooked themselves."""
    structure = Structure({}, islands=(Island(("stub",), ("op",), ("relu",), ("plus",)),))
    assert structure.island_outputs() == {
        "op": "op", "stub": "stub", "relu": "relu", "plus": "plus.activation_post_process",
    }  # fmt: skip
