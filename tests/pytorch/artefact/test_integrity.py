"""An artefact whose files are not what was written, or whose numbers cannot run here, is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ilit.errors import ArtefactError, IlitError
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.artefact import integrity
from ilit_pytorch.engine import cpu

OLD = Path(__file__).parents[2] / "data" / "artefact-v1"


def net() -> torch.nn.Module:
    """Return a small architecture."""
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 3))


@pytest.fixture
def saved(bench: Callable[..., Any], tmp_path: Path) -> SimpleNamespace:
    """Return a folder with one op in static INT8 and one in dynamic, and what the model answers."""
    subject = bench(net(), torch.randn(64, 8))
    lowered = subject.lower(static=["0"], dynamic=["2"])
    folder = tmp_path / "best"
    folder.mkdir()
    subject.adapter.save(lowered, folder)
    return SimpleNamespace(folder=folder, wanted=subject.run(lowered), run=subject.run)


def test_every_flipped_bit_is_refused_or_harmless(saved: Any) -> None:
    """Of any file, at any place."""
    files = sorted(saved.folder.iterdir())
    whole = {file: file.read_bytes() for file in files}

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def flip(data: Any) -> None:
        file = data.draw(st.sampled_from(files))
        place = data.draw(st.integers(0, len(whole[file]) - 1))
        bit = 1 << data.draw(st.integers(0, 7))
        file.write_bytes(whole[file][:place] + bytes([whole[file][place] ^ bit]) + whole[file][place + 1 :])
        try:
            loaded = PyTorchAdapter().load(saved.folder, model=net())
        except IlitError:
            pass
        else:
            assert saved.run(loaded).tobytes() == saved.wanted.tobytes()
        finally:
            file.write_bytes(whole[file])

    flip()


@pytest.fixture
def retouch(edit_recipe: Callable[..., None]) -> Callable[..., None]:
    """Return a function that changes tensors of an artefact.

    With ``seal`` their digests fit again, as somebody might do who means it.
    """

    def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], seal: bool) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        if seal:
            edit_recipe(folder, sha256=integrity.digests_of(tensors.items()))

    return change_tensors


def swap(tensors: dict[str, torch.Tensor]) -> None:
    """Exchange two tensors of one shape."""
    tensors["1.weight"], tensors["1.bias"] = tensors["1.bias"], tensors["1.weight"]


TENSORS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "swapped": (swap, r"1\.(weight|bias) is damaged"),
    "missing": (lambda t: t.pop("0::bias"), "0::bias is not in it"),
    "one more": (lambda t: t.update(more=torch.zeros(1)), "more was not written into it"),
    "another value": (lambda t: t["0::weight_scale"].mul_(1.5), "0::weight_scale is damaged"),
    "another dtype": (lambda t: t.update({"1.bias": t["1.bias"].double()}), "1.bias is damaged"),
}
NUMBERS: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "scale of NaN": (lambda t: t["0::weight_scale"].fill_(float("nan")), "weight_scale holds a value that is not"),
    "scale of 0": (lambda t: t["2::weight_scale"][0].zero_(), "weight_scale holds a value that is not positive"),
    "bias of infinity": (lambda t: t["0::bias"][0].fill_(float("inf")), "bias holds a value that is not finite"),
    "code -128": (lambda t: t["0::weight"][0].fill_(-128), "codes from -127"),
    "float codes": (lambda t: t.update({"0::weight": t["0::weight"].float()}), "no int8 tensor"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_the_ones_written(saved: Any, name: str, retouch: Callable[..., None]) -> None:
    """Each is known by its name and SHA-256."""
    change, text = TENSORS[name]
    retouch(saved.folder, change, seal=False)
    with pytest.raises(ArtefactError, match=text):
        PyTorchAdapter().load(saved.folder, model=net())


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_out_of_range_are_refused(saved: Any, name: str, retouch: Callable[..., None]) -> None:
    """Digests may be right: what cannot be a scale or a code is refused all the same, with the module's path."""
    change, text = NUMBERS[name]
    retouch(saved.folder, change, seal=True)
    with pytest.raises(ArtefactError, match=text):
        PyTorchAdapter().load(saved.folder, model=net())


SEALED: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], str]] = {
    "no bias": (lambda t: t.pop("0::bias"), "0 lacks its bias"),
    "a smoothing": (
        lambda t: t.update({"2::smoothing": torch.ones(16)}),
        "2 is made of .*, and the files have .*smoothing",
    ),
    "a stray part": (lambda t: t.update({"0::more": torch.ones(1)}), "0 is made of"),
    "a stray module": (lambda t: t.update({"9::weight": torch.ones(1)}), "9::weight is no part of"),
    "a short scale": (lambda t: t.update({"0::weight_scale": torch.ones(2)}), "weight_scale is .*, not float32 of 16"),
}


@pytest.mark.parametrize("name", SEALED)
def test_parts_are_those_that_the_recipe_describes(saved: Any, name: str, retouch: Callable[..., None]) -> None:
    """No more and no fewer, whatever the digests say."""
    change, text = SEALED[name]
    retouch(saved.folder, change, seal=True)
    with pytest.raises(ArtefactError, match=text):
        PyTorchAdapter().load(saved.folder, model=net())


def test_another_geometry_is_refused(bench: Callable[..., Any], tmp_path: Path) -> None:
    """A convolution of the architecture given that strides otherwise is not the one that was tuned."""
    subject = bench(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, stride=2)), torch.randn(8, 1, 9, 9))
    subject.adapter.save(subject.lower(static=["0"]), tmp_path)
    with pytest.raises(ArtefactError, match=r"has the geometry .*, the architecture given"):
        PyTorchAdapter().load(tmp_path, model=torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, stride=1)))


JSONS: dict[str, dict[str, Any]] = {
    "files": {"files": 3},
    "modules": {"modules": {"a": 1}},
    "aliases": {"aliases": [1]},
    "extra": {"extra": {"0": {"tensor": "0.bias"}}},
    "cpu": {"cpu": {}},
    "digests": {"sha256": []},
}


@pytest.mark.parametrize("name", JSONS)
def test_json_of_another_shape_is_refused_in_one_line(saved: Any, name: str, edit_recipe: Callable[..., None]) -> None:
    """Never with an error of Python's or torch's own."""
    edit_recipe(saved.folder, **JSONS[name])
    with pytest.raises(ArtefactError) as caught:
        PyTorchAdapter().load(saved.folder, model=net())
    assert "\n" not in str(caught.value)


METAS: dict[str, tuple[dict[str, Any], str]] = {
    "zero point 300": ({"zero_point": 300}, "the zero point 300 is not within the codes 0 to 255"),
    "negative zero point": ({"zero_point": -1}, "the zero point -1 is not within"),
    "scale of NaN": ({"scale": "nan"}, "a scale is nan"),
    "scale of 0": ({"scale": "0x0.0p+0"}, "a scale is 0.0"),
    "decimal scale": ({"scale": "abc"}, "is no hexadecimal number"),
    "zero point as text": ({"zero_point": "7"}, "is not within"),
    "zero point of 1.5": ({"zero_point": 1.5}, "is not within"),
    "codes of 9 bits": ({"max_code": 511}, "not within the codes"),
}


@pytest.mark.parametrize("name", METAS)
def test_parameters_out_of_range_are_refused(saved: Any, name: str, edit_recipe: Callable[..., None]) -> None:
    """Those of activations stand in the recipe."""
    change, text = METAS[name]
    modules = json.loads((saved.folder / "recipe.json").read_text())["modules"]
    modules[0]["meta"]["quantizer"].update(change)
    edit_recipe(saved.folder, modules=modules)
    with pytest.raises(ArtefactError, match=text):
        PyTorchAdapter().load(saved.folder, model=net())


@pytest.mark.filterwarnings("ignore:.*tuned for CPU class:ilit.errors.IlitWarning")
def test_codes_that_saturate_here_are_refused(
    saved: Any, monkeypatch: pytest.MonkeyPatch, retouch: Callable[..., None]
) -> None:
    """On a CPU that sums in 16 bits the codes that really are in the file decide, on another they are fine."""
    retouch(saved.folder, lambda t: t["0::weight"][0].fill_(127), seal=True)
    monkeypatch.setattr(cpu, "int8_class", lambda: "A")
    with pytest.raises(ArtefactError, match="activation codes up to 255 and weight codes up to 127 saturate"):
        PyTorchAdapter().load(saved.folder, model=net())
    monkeypatch.setattr(cpu, "int8_class", lambda: "V")
    PyTorchAdapter().load(saved.folder, model=net())


def test_an_edited_config_is_refused(saved: Any) -> None:
    """It decides how the architecture is built."""
    (saved.folder / "config.json").write_text('{"class": "another"}')
    with pytest.raises(ArtefactError, match=r"config\.json: is damaged or was edited"):
        PyTorchAdapter().load(saved.folder, model=net())


def test_how_json_is_laid_out_is_free(saved: Any) -> None:
    """A recipe that some tool has indented anew is the same recipe."""
    file = saved.folder / "recipe.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=4, sort_keys=True))
    assert saved.run(PyTorchAdapter().load(saved.folder, model=net())).tobytes() == saved.wanted.tobytes()


class OldNet(torch.nn.Module):
    """The architecture of the artefact that the first format's writer left."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = torch.nn.Embedding(12, 8), torch.nn.LayerNorm(4)
        self.conv, self.head = torch.nn.Conv1d(8, 4, 3, padding=1), torch.nn.Linear(4, 3)
        self.register_buffer("offset", torch.zeros(8), persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.conv((self.embed(ids) + self.offset).transpose(1, 2)).transpose(1, 2)
        return self.head(self.norm(x).mean(1))


@pytest.mark.filterwarnings("ignore:.*tuned for CPU class:ilit.errors.IlitWarning")
def test_the_first_format_is_read() -> None:
    """Without digests, to the answers that its writer gave."""
    expected = json.loads((OLD / "expected.json").read_text())
    loaded = PyTorchAdapter().load(OLD, model=OldNet())
    wanted = torch.tensor([[float.fromhex(value) for value in row] for row in expected["outputs"]]).float()
    with torch.no_grad():
        torch.testing.assert_close(loaded(torch.tensor(expected["ids"])), wanted, rtol=1e-5, atol=1e-6)
