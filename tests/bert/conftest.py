"""What the tests of ilit-bert share: a tiny tokenizer, and the real data where it lies beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from transformers import BertTokenizerFast

from ilit_bert.tokenizer import load_tokenizer

WORDS = ["who", "what", "was", "is", "born", "the", "a", "king", "of", "normandy", "in", "film", "good", "bad"]
WORDS += ["very", "not", "and", "old", "he", "ran"]


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory):
    """A folder with a WordPiece tokenizer of whole words, letters and marks, as a checkpoint has it."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces += [*letters, *(f"##{letter}" for letter in letters), *".,;?!'\"$-"]
    folder = tmp_path_factory.mktemp("tokenizer")
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = BertTokenizerFast(vocab=vocab, do_lower_case=True, model_max_length=512)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tokenizer(tokenizer_dir):
    """The tokenizer of ``tokenizer_dir``."""
    return load_tokenizer(tokenizer_dir)


@pytest.fixture(scope="session")
def shared():
    """The folder with real data that `ILIT_SHARED` names, or that lies beside the checkout; without it, a skip."""
    folder = Path(os.environ.get("ILIT_SHARED", Path(__file__).parents[3] / "shared"))
    if not (folder / "glue").is_dir():
        pytest.skip("real data is not here")
    return folder
