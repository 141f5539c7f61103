"""Promises of ``ilit_bert.checkpoints.casing``: files say how text is prepared, else the vocabulary."""

from __future__ import annotations

import json
import logging
import warnings

import pytest
import transformers
from transformers import BertTokenizer

from ilit.errors import IlitWarning
from ilit_bert.checkpoints.tokenizer import load_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]"]
CASED = [*SPECIAL, "Anna", "anna", "reads", "é", "e", "a", "##n"]
UNCASED = [*SPECIAL, "anna", "reads", "e", "a", "##n", "b", "c"]
ACCENTED = [*SPECIAL, "anna", "reads", "é", "e", "für", "fur"]


@pytest.fixture
def checkpoint(tmp_path):
    """Return a function that writes a BERT's tokenizer files and returns the folder."""

    def write(pieces, *, says=None, normalizer=None, vocab=True, model="BertConfig"):
        getattr(transformers, model)().save_pretrained(tmp_path)
        if normalizer is not None:
            tokenizer = BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, do_lower_case=False)
            tokenizer.save_pretrained(tmp_path)
            (tmp_path / "tokenizer_config.json").unlink()
            file = json.loads((tmp_path / "tokenizer.json").read_text())
            (tmp_path / "tokenizer.json").write_text(json.dumps({**file, "normalizer": normalizer}))
        if vocab:
            (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
        if says is not None:
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(says))
        return tmp_path

    return write


def read(folder):
    """How the folder's tokenizer cuts a text; warnings are not looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IlitWarning)
        return load_tokenizer(folder).tokenize("Anna é reads")


def bert(lowercase, strip_accents=None):
    """BERT's normalizer as tokenizer.json has it."""
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }


def test_accents_are_read_where_the_config_speaks_of_case_alone(checkpoint):
    """``tokenizer_config.json`` that says no more than that text is lowercased leaves accents to tokenizer.json."""
    normalizer = bert(lowercase=True, strip_accents=False)
    assert read(checkpoint(CASED, says={"do_lower_case": True}, normalizer=normalizer)) == ["anna", "é", "reads"]


@pytest.mark.parametrize("model", ["BertConfig", "DistilBertConfig", "ElectraConfig"])
@pytest.mark.parametrize("says", [None, {"model_max_length": 64}], ids=["no file", "file that is silent"])
def test_a_cased_vocabulary_alone(checkpoint, says, model, caplog):
    """Pieces with capitals beside which no file says anything keep text cased, and the log says why."""
    folder = checkpoint(CASED, says=says, model=model)
    assert read(folder) == ["Anna", "é", "reads"]
    assert "says whether it lowercases; 1 of 7 pieces have capitals, so text is left cased" in caplog.text


def test_an_uncased_vocabulary_alone(checkpoint, caplog):
    """Without capitals in the vocabulary text is lowercased; special tokens are no evidence."""
    caplog.set_level(logging.INFO)
    assert read(checkpoint(UNCASED)) == ["anna", "e", "reads"]
    assert "0 of 7 pieces have capitals, so text is lowercased" in caplog.text


def test_accents_of_an_uncased_vocabulary(checkpoint, caplog):
    """Accented pieces are kept readable."""
    caplog.set_level(logging.INFO)
    assert read(checkpoint(ACCENTED)) == ["anna", "é", "reads"]
    assert "2 have accents, so these are kept" in caplog.text


@pytest.mark.parametrize("vocab", [True, False], ids=["beside vocab.txt", "alone"])
@pytest.mark.parametrize(
    ("normalizer", "pieces", "cut"),
    [
        (bert(lowercase=False), UNCASED, ["[UNK]", "[UNK]", "reads"]),
        (bert(lowercase=False, strip_accents=True), CASED, ["Anna", "e", "reads"]),
        (bert(lowercase=True), CASED, ["anna", "e", "reads"]),
        (bert(lowercase=True, strip_accents=False), CASED, ["anna", "é", "reads"]),
        ({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}]}, CASED, ["anna", "e", "reads"]),
        (
            {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
            CASED,
            ["Anna", "e", "reads"],
        ),
    ],
    ids=["cased", "cased without accents", "lowercase", "lowercase with accents", "sequence", "sequence of accents"],
)
def test_tokenizer_json_says(checkpoint, normalizer, pieces, cut, vocab):
    """Where tokenizer_config.json is silent, tokenizer.json's normalizer is followed, whatever the vocabulary."""
    assert read(checkpoint(pieces, normalizer=normalizer, vocab=vocab)) == cut


@pytest.mark.parametrize(("lowers", "cut"), [(True, ["anna", "e", "reads"]), (False, ["Anna", "é", "reads"])])
def test_tokenizer_config_says(checkpoint, lowers, cut):
    """What tokenizer_config.json says is followed, also against tokenizer.json, as transformers does."""
    assert read(checkpoint(CASED, says={"do_lower_case": lowers}, normalizer=bert(not lowers))) == cut


@pytest.mark.parametrize(
    ("pieces", "lowers", "text"),
    [
        (CASED, True, "lowercases, but 1 of its vocabulary's 7 pieces have capitals, which are never used"),
        (UNCASED, False, "keeps capitals, but none of its vocabulary's 7 pieces has any, so words with capitals"),
    ],
)
def test_files_that_the_vocabulary_speaks_against(checkpoint, pieces, lowers, text):
    """The files are followed, since training may have done so too, with a warning."""
    with pytest.warns(IlitWarning, match=text):
        load_tokenizer(checkpoint(pieces, says={"do_lower_case": lowers}))


@pytest.mark.parametrize(("pieces", "lowers"), [(CASED, False), (UNCASED, True)])
def test_files_that_the_vocabulary_agrees_with(checkpoint, pieces, lowers, caplog):
    """Nothing is told."""
    caplog.set_level(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IlitWarning)
        load_tokenizer(checkpoint(pieces, says={"do_lower_case": lowers}))
    assert not caplog.records


def test_a_stray_capital_is_no_cased_vocabulary(checkpoint):
    """One piece with capitals of several hundred, a placeholder, leaves text lowercased."""
    letters = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghij"]
    assert read(checkpoint([*UNCASED, *letters, "URL"])) == ["anna", "e", "reads"]


def test_what_was_inferred_is_saved(checkpoint, tmp_path_factory, caplog):
    """A copy of the tokenizer says by itself that text is cased."""
    folder, copy = checkpoint(CASED), tmp_path_factory.mktemp("copy")
    load_tokenizer(folder).save_pretrained(copy)
    (copy / "config.json").write_text((folder / "config.json").read_text())
    caplog.clear()

    assert read(copy) == ["Anna", "é", "reads"]
    assert not caplog.records


def test_other_tokenizers_are_left_alone(tmp_path, caplog):
    """Byte pairs have no casing to infer."""
    transformers.RobertaConfig().save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text('{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "A": 5, "a": 6}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert load_tokenizer(tmp_path).tokenize("Aa") == ["A", "a"]
    assert not caplog.records
