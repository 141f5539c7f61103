"""Numbers of an INT8 module are refused that no kernel here could run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ilit.errors import ArtefactError
from ilit_pytorch.engine import cpu
from ilit_pytorch.quantization.checks import check_numbers

STATIC = {"scale": (0.5).hex(), "zero_point": 3, "max_code": 255}


def tensors(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the tensors of a Linear of 3 outputs and 4 inputs."""
    plain = {"weight": torch.ones(3, 4, dtype=torch.int8), "weight_scale": torch.ones(3), "bias": torch.zeros(3)}
    return {**plain, **changes}


def test_sound_numbers_pass() -> None:
    """Static, dynamic and without any activation."""
    for quantizer in (STATIC, {"scheme": "asym", "bits": 8}):
        check_numbers("here", "linear", {"quantizer": quantizer}, tensors())
    check_numbers("here", "embedding", {}, tensors())


REFUSED: dict[str, tuple[dict[str, Any], dict[str, torch.Tensor], str]] = {
    "scale of 0": ({**STATIC, "scale": (0.0).hex()}, {}, "a scale is 0.0"),
    "infinite scale": ({**STATIC, "scale": "inf"}, {}, "a scale is inf"),
    "decimal scale": ({**STATIC, "scale": "0.5"}, {}, "no hexadecimal number"),
    "zero point": ({**STATIC, "zero_point": 256}, {}, "the zero point 256 is not within the codes 0 to 255"),
    "bits": ({"scheme": "asym", "bits": 6}, {}, "6 bits are none of 7 and 8"),
    "negative weight scale": (STATIC, {"weight_scale": -torch.ones(3)}, "weight_scale holds a value that is not"),
    "bias of NaN": (STATIC, {"bias": torch.full((3,), torch.nan)}, "bias holds a value that is not finite"),
    "short bias": (STATIC, {"bias": torch.zeros(2)}, "not float32 of 3"),
    "long smoothing": (STATIC, {"smoothing": torch.ones(5)}, "not float32 of 4"),
    "code -128": (STATIC, {"weight": torch.full((3, 4), -128, dtype=torch.int8)}, "no int8 tensor of codes from -127"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_out_of_range_are_refused(name: str) -> None:
    """In one line that begins with the place."""
    quantizer, changes, text = REFUSED[name]
    with pytest.raises(ArtefactError, match=text) as caught:
        check_numbers("here", "linear", {"quantizer": quantizer}, tensors(**changes))
    assert str(caught.value).startswith("here: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "meta", "saturates"),
    [
        ("linear", {"quantizer": STATIC}, True),
        ("linear", {"quantizer": {"scheme": "asym", "bits": 7}}, False),
        ("island_op", {**STATIC, "max_code": 127}, True),
        ("embedding", {}, False),
    ],
    ids=["8 bits", "7 bits", "in an island", "embedding"],
)
def test_codes_that_saturate_are_refused_where_they_do(
    monkeypatch: pytest.MonkeyPatch, kind: str, meta: dict[str, Any], saturates: bool
) -> None:
    """Torch's modules in islands clamp activations at 255 whatever the range; an embedding multiplies none."""
    largest = tensors(weight=torch.full((3, 4), 127, dtype=torch.int8))
    monkeypatch.setattr(cpu, "int8_class", lambda: "V")
    check_numbers("here", kind, meta, largest)
    monkeypatch.setattr(cpu, "int8_class", lambda: "A")
    if saturates:
        with pytest.raises(ArtefactError, match="saturate in silence"):
            check_numbers("here", kind, meta, largest)
    else:
        check_numbers("here", kind, meta, largest)
