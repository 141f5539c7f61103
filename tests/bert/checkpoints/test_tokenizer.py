"""Tokenizers load or are refused, and lengths fit the model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ilit.errors import ConfigError, ModelError
from ilit_bert.checkpoints.tokenizer import fitting_length, load_tokenizer


def test_a_folder_with_a_tokenizer(tokenizer_dir):
    """The fast tokenizer of a folder loads."""
    assert (
        load_tokenizer(tokenizer_dir)("he ran")["input_ids"]
        == load_tokenizer(str(tokenizer_dir))("he ran")["input_ids"]
    )


@pytest.mark.parametrize("text", [None, "{", "{}"], ids=["nothing", "no json", "empty"])
def test_a_folder_without_a_tokenizer(tmp_path, text):
    """What holds no tokenizer that can be read is refused in one line with the cure."""
    if text is not None:
        (tmp_path / "tokenizer.json").write_text(text)
        (tmp_path / "tokenizer_config.json").write_text(text)
    with pytest.raises(ModelError, match=r"has no tokenizer that loads .* name a checkpoint folder") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_slow_tokenizer(tmp_path):
    """A slow tokenizer is refused, since it knows no offsets."""
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CTRLTokenizer"}')
    (tmp_path / "vocab.json").write_text('{"<unk>": 0, "a": 1}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ModelError, match="has only a slow tokenizer; save its fast one"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("positions", "tokens", "wanted", "length"),
    [(512, 512, None, 128), (64, 512, None, 64), (514, 512, 512, 512), (None, 100, None, 100), (512, 10**30, 512, 512)],
    ids=["usual", "short model", "RoBERTa", "no positions", "tokenizer without a limit"],
)
def test_fitting_length(positions, tokens, wanted, length):
    """The default is the usual length or what model and tokenizer take, whichever is least."""
    model = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=positions))
    tokenizer = SimpleNamespace(model_max_length=tokens)
    assert fitting_length(model, tokenizer, wanted, 128) == length
    limit = min(positions or tokens, tokens)
    for wrong in (7, limit + 1):
        with pytest.raises(ConfigError, match=f"max length {wrong}: the model takes 8 to {limit} tokens"):
            fitting_length(model, tokenizer, wrong, 128)
