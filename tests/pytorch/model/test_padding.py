"""What the attention mask leaves out counts in no statistic, however it is given and wherever the padding is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ilit.space import CalibrationSize
from ilit_pytorch.adapter import PyTorchAdapter
from ilit_pytorch.calibration.result import TorchCalibration
from ilit_pytorch.calibration.stats import CalibrationStats
from ilit_pytorch.model.padding import padding_of

ROWS, TOKENS = 6, 10
LENGTHS = torch.tensor([3, 10, 1, 4, 2, 5])
REAL = torch.arange(TOKENS) < LENGTHS[:, None]  # (rows, tokens)


class Tagger(torch.nn.Module):
    """Tokens in, a class a token out: token by token in all that it does, so that padding changes no other token."""

    def __init__(self, form: str = "tokens") -> None:
        super().__init__()
        self.words, self.hidden, self.head = torch.nn.Embedding(30, 8), torch.nn.Linear(8, 12), torch.nn.Linear(12, 3)
        self.pointwise, self.form = torch.nn.Conv1d(12, 12, 1), form
        with torch.no_grad():
            self.words.weight[0] = 40.0  # what training never touched

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        x = self.words(input_ids)
        if self.form == "flat":
            x = x.flatten(0, 1)
        elif self.form == "sequence first":
            x = x.transpose(0, 1)
        x = self.hidden(x)
        if self.form == "pointwise":
            x = self.pointwise(x.transpose(1, 2)).transpose(1, 2)
        return self.head(x.relu())


class Nested(torch.nn.Module):
    """Takes one dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Tagger()

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.inner(**features)


def ids(real: torch.Tensor) -> torch.Tensor:
    """Return token ids, 0 where there is padding."""
    return torch.randint(1, 30, real.shape, generator=torch.Generator().manual_seed(7)) * real


def calibrated(model: torch.nn.Module, batches: list[Any]) -> TorchCalibration:
    """Return the calibration of all batches."""
    adapter, data = PyTorchAdapter(), [(inputs, None) for inputs in batches]
    space = replace(adapter.describe(model, data[0]), calibrations=(CalibrationSize(len(data), "batches"),))
    return adapter.calibrate(model, data, space)


def seen(model: torch.nn.Module, batches: list[Any]) -> CalibrationStats:
    """Return what calibration saw in all batches."""
    return next(iter(calibrated(model, batches).seen.values()))


def cut(inputs: torch.Tensor, real: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Return the rows of a batch one by one, without padding."""
    return [{"input_ids": row[keep][None]} for row, keep in zip(inputs, real, strict=True)]


def assert_alike(found: CalibrationStats, wanted: CalibrationStats) -> None:
    """Ranges, histograms, channels and sampled rows are those of the same tokens, but for their order."""
    assert found.stats.keys() == wanted.stats.keys()
    for name, stats in wanted.stats.items():
        ours, channels, theirs = found.stats[name], found.channels[name], wanted.channels[name]
        assert (ours.low, ours.high, ours.zeros) == pytest.approx((stats.low, stats.high, stats.zeros), rel=1e-5)
        assert ours.counts.sum() == stats.counts.sum()
        for one, other in ((channels.low, theirs.low), (channels.high, theirs.high), (channels.mean, theirs.mean)):
            assert torch.allclose(one, other, atol=1e-5)
        assert channels.count == theirs.count
        assert channels.filled == min(128, channels.count)
        assert torch.allclose(*(rows.sample.sort(dim=0).values for rows in (channels, theirs)), atol=1e-5)


SIDES = {
    "right": REAL,
    "left": REAL.flip(1),
    "both": REAL & (torch.arange(TOKENS) > 0) | (LENGTHS[:, None] == 1) & REAL,
}
GIVEN: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[Any, Any], Any]]] = {
    "mapping": (Tagger, lambda x, mask: {"input_ids": x, "attention_mask": mask.long()}),
    "bool": (Tagger, lambda x, mask: {"input_ids": x, "attention_mask": mask}),
    "float": (Tagger, lambda x, mask: {"input_ids": x, "attention_mask": mask.float()}),
    "positions": (Tagger, lambda x, mask: (x, mask.long())),
    "nested": (Nested, lambda x, mask: ({"input_ids": x, "attention_mask": mask.long()},)),
    "flat": (lambda: Tagger("flat"), lambda x, mask: {"input_ids": x, "attention_mask": mask.long()}),
    "sequence first": (lambda: Tagger("sequence first"), lambda x, mask: (x, mask.long())),
    "pointwise": (lambda: Tagger("pointwise"), lambda x, mask: (x, mask.long())),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("given", GIVEN)
def test_padded_rows_count_as_the_same_rows_without_padding(given: str, side: str) -> None:
    """Every statistic is that of the tokens alone, whatever form mask and activations have."""
    make, batch = GIVEN[given]
    model, real = make().eval(), SIDES[side]
    inner = model.inner if isinstance(model, Nested) else model
    found, wanted = seen(model, [batch(ids(real), real)]), seen(inner, cut(ids(real), real))
    if isinstance(model, Nested):
        found = CalibrationStats(
            *({n.removeprefix("inner."): v for n, v in part.items()} for part in (found.stats, found.channels))
        )
    elif given != "sequence first":
        assert torch.equal(found.indices["words"], ids(real)[real])
    assert_alike(found, wanted)


def test_an_all_ones_mask_changes_nothing() -> None:
    """Statistics are to the last bit those without a mask."""
    model, tokens = Tagger().eval(), ids(torch.ones_like(REAL))
    masked = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    assert calibrated(model, [masked]).digest == calibrated(model, [{"input_ids": tokens}]).digest
    assert not padding_of(model, masked).tokens


def test_a_batch_of_nothing_but_padding_counts_for_nothing() -> None:
    """In between, first or last: the others are as they are without it."""
    model, tokens = Tagger().eval(), ids(REAL)
    empty = {"input_ids": torch.zeros_like(tokens), "attention_mask": torch.zeros_like(tokens)}
    full = {"input_ids": tokens, "attention_mask": REAL.long()}
    wanted = seen(model, [full])
    for batches in ([empty, full], [full, empty]):
        assert_alike(seen(model, batches), wanted)
    nothing = calibrated(model, [empty])
    assert nothing.seen["1 batches"].stats == {}
    recipe = PyTorchAdapter().describe(model, (full, None)).recipe({}, "1 batches")
    assert torch.isfinite(PyTorchAdapter().lower(model, recipe, nothing)(**full)).all()


def test_what_has_other_axes_counts_whole() -> None:
    """A pooled activation, an image's, and one whose features are as many as the tokens are left as they are."""
    padding = padding_of(Tagger(), (ids(REAL), REAL))
    for shape in ((ROWS, 8), (ROWS, TOKENS), (4, 3, 8, 8), (ROWS, TOKENS + 1, 8), (ROWS * TOKENS,)):
        value = torch.randn(shape)
        assert padding.without(value) is value
    assert padding.without(torch.randn(ROWS, TOKENS, 8)).shape == (int(LENGTHS.sum()), 8)
    assert padding.without(torch.randn(ROWS, TOKENS, 2, 4)).shape == (int(LENGTHS.sum()), 2, 4)


class Pooled(torch.nn.Module):
    """One answer a row, of the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.pool, self.conv = torch.nn.Embedding(30, 8), torch.nn.Linear(8, 8), torch.nn.Conv1d(8, 8, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.words(input_ids)
        return self.pool(x[:, 0]) + self.conv(x.transpose(1, 2)).mean(dim=2)


def test_pooled_activations_and_what_convolutions_mix_count_whole() -> None:
    """All rows of a pooled activation count, and all a wide kernel reads: padding goes into real tokens' outputs."""
    found = seen(Pooled().eval(), [{"input_ids": ids(REAL), "attention_mask": REAL.long()}])
    assert found.channels["pool:in"].count == ROWS
    assert found.channels["conv:in"].count == ROWS * TOKENS


class Translator(torch.nn.Module):
    """An encoder and a decoder, which reads the encoder's tokens one place later where it is given none."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.encoder, self.decoder = torch.nn.Embedding(30, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        decoder_input_ids: Any = None,
        decoder_attention_mask: Any = None,
    ) -> torch.Tensor:
        shifted = torch.cat([torch.ones_like(input_ids[:, :1]), input_ids[:, :-1]], dim=1)
        target = shifted if decoder_input_ids is None else decoder_input_ids
        return self.decoder(self.words(target)).sum(1) + self.encoder(self.words(input_ids)).sum(1)


def test_encoder_and_decoder_have_masks_of_their_own() -> None:
    """Shapes tell which is meant; one that cannot be told leaves out only what is surely padding."""
    real, own = REAL, torch.arange(7) < LENGTHS[:, None]
    source = {"input_ids": ids(real), "attention_mask": real.long()}
    cases = {
        "two masks": ({"decoder_input_ids": ids(own), "decoder_attention_mask": own.long()}, real.sum(), own.sum()),
        "none of its own": ({"decoder_input_ids": ids(own)}, real.sum(), own.numel()),
        "same shape": ({"decoder_input_ids": ids(real)}, real.numel(), real.numel()),
        "same shape, two masks": (
            {"decoder_input_ids": ids(real), "decoder_attention_mask": real.flip(1).long()},
            (real | real.flip(1)).sum(),
            (real | real.flip(1)).sum(),
        ),
        "shifted": ({}, (LENGTHS + 1).clamp_max(TOKENS).sum(), (LENGTHS + 1).clamp_max(TOKENS).sum()),
    }
    for name, (more, encoded, decoded) in cases.items():
        found = seen(Translator().eval(), [{**source, **more}])
        counts = found.channels["encoder:in"].count, found.channels["decoder:in"].count
        assert counts == (int(encoded), int(decoded)), name


@pytest.mark.parametrize(
    "mask", [REAL.float().sub(1).mul(1e9), REAL[:, None, :].long(), REAL.long() * 2], ids=["added", "axes", "values"]
)
def test_a_mask_that_does_not_tell_is_named(mask: torch.Tensor, caplog: pytest.LogCaptureFixture) -> None:
    """What is added to scores, has other axes or other values is not read, and one line says so."""
    with caplog.at_level(logging.WARNING, "ilit.pytorch"):
        found = seen(Tagger().eval(), [{"input_ids": ids(REAL), "attention_mask": mask}] * 2)
    assert found.channels["hidden:in"].count == 2 * ROWS * TOKENS
    lines = [r.getMessage() for r in caplog.records if "is padding" in r.getMessage()]
    said = "does not say with 1 and 0 what is padding, so that padding counts as data"
    assert lines == [f"calibration: attention_mask of shape {tuple(mask.shape)} {said}"]


def test_zeros_to_be_added_leave_all_tokens_in() -> None:
    """A float mask of zeros is one that is added to scores; nothing of the batch is padding."""
    found = seen(Tagger().eval(), [{"input_ids": ids(REAL), "attention_mask": torch.zeros(REAL.shape)}])
    assert found.channels["hidden:in"].count == ROWS * TOKENS


def test_bias_correction_and_range_are_those_of_the_tokens() -> None:
    """An INT8 model calibrated with padding is off no more than one calibrated without."""
    model = Tagger().eval()
    with torch.no_grad():
        model.words.weight[0] *= 4
    padded = [{"input_ids": ids(REAL), "attention_mask": REAL.long()}]
    off = []
    for batches in (padded, cut(ids(REAL), REAL)):
        calibration, adapter = calibrated(model, batches), PyTorchAdapter()
        space = adapter.describe(model, (batches[0], None))
        lowered = adapter.lower(model, space.recipe({}, next(iter(calibration.seen))), calibration)
        with torch.no_grad():
            off.append(float((lowered(**padded[0]) - model(**padded[0]))[REAL].norm()))
    assert off[0] == pytest.approx(off[1], rel=0.01)


def test_ops_are_timed_on_padded_rows() -> None:
    """The kernel has to compute padding too, so as many rows as the usual batch has are timed."""
    model, adapter = Tagger().eval(), PyTorchAdapter()
    inputs = {"input_ids": ids(REAL), "attention_mask": REAL.long()}
    calibration, shapes = calibrated(model, [inputs]), set()
    recipe = adapter.describe(model, (inputs, None)).recipe({}, "1 batches")
    model.hidden.register_forward_pre_hook(lambda _module, args: shapes.add(tuple(args[0].shape)))
    adapter.time_ops(model, recipe, calibration)
    assert shapes == {(ROWS * TOKENS, 8)}


def test_probes_leave_padding_out() -> None:
    """The distance of a recipe is that of the tokens' predictions: what padding gives has no part in it."""
    model, adapter = Tagger().eval(), PyTorchAdapter()
    inputs = {"input_ids": ids(REAL), "attention_mask": REAL.long()}
    calibration = calibrated(model, [inputs])
    recipe = adapter.describe(model, (inputs, None)).recipe({}, "1 batches")
    (found,) = adapter.probe(model, [recipe], calibration)
    with torch.no_grad():
        outputs = [one(**inputs)[REAL].double().numpy() for one in (adapter.lower(model, recipe, calibration), model)]
    wanted = np.abs(outputs[0] - outputs[1]).mean() ** 2 * np.pi / 2 / outputs[1].var()
    assert found == pytest.approx(wanted)


def test_what_has_a_masks_shape_and_is_no_text_is_not_masked() -> None:
    """As many frames as tokens: shapes do not tell which activation is which, so padding counts, and that is said."""

    class Both(torch.nn.Module):
        def forward(self, input_ids: Any, attention_mask: Any, frames: Any) -> Any:
            return input_ids

    mask = (torch.arange(8) < torch.tensor([[3], [5]])).long()
    given = {"input_ids": mask, "attention_mask": mask, "frames": torch.randn(2, 8, 4)}
    found = padding_of(Both(), given)
    assert not found.tokens
    assert found.unread == "attention_mask of shape (2, 8), which another input has as well,"
    assert padding_of(Both(), {**given, "frames": torch.randn(2, 7, 4)}).tokens
