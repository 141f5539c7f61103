"""Whether a WordPiece tokenizer lowercases its text: what the checkpoint's files say, else what its vocabulary says.

transformers lowercases wherever ``tokenizer_config.json`` does not say otherwise, also where ``tokenizer.json`` says
otherwise or there is nothing but ``vocab.txt``. To a model trained on cased text every name is then unreadable.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import models, normalizers
from transformers.utils.hub import cached_file

CASED_SHARE = 0.01
"""Share of pieces with capitals from which a vocabulary is a cased one; one made of lowercased text has none."""


@dataclass(frozen=True)
class Casing:
    """How a tokenizer normalizes case and accents.

    Attributes:
        lowers: capitals become small letters.
        strips: accents are removed; None does so where capitals are lowered.
        inferred: the reason, where no file says so; else empty.
        doubt: the vocabulary's evidence against it; mostly empty.
    """

    lowers: bool
    strips: bool | None
    inferred: str = ""
    doubt: str = ""


def casing_of(tokenizer: Any, source: str) -> Casing | None:
    """Return the casing of a checkpoint; None for a tokenizer that is no WordPiece with BERT's normalizer.

    Args:
        tokenizer: transformers' own of ``source``.
        source: checkpoint folder or Hub id.
    """
    backend = tokenizer.backend_tokenizer
    if not isinstance(backend.model, models.WordPiece) or not isinstance(
        backend.normalizer, normalizers.BertNormalizer
    ):
        return None
    stated = _stated(source, backend.normalizer)
    pieces = _pieces(tokenizer)
    capitals, accents = _count(pieces, str.lower), _count(pieces, _without_accents)
    cased = capitals >= max(1, CASED_SHARE * len(pieces))
    if stated is not None:
        return Casing(*stated, doubt=_doubt(stated[0], capitals, pieces, cased))
    accented = accents >= max(1, CASED_SHARE * len(pieces))
    about = f"no file of the tokenizer says whether it lowercases; {capitals} of {len(pieces)} pieces have capitals"
    outcome = "so text is left cased" if cased else "so text is lowercased"
    if not cased and accented:
        outcome = f"{outcome}; {accents} have accents, so these are kept"
    return Casing(not cased, False if accented and not cased else None, f"{about}, {outcome}")


def _stated(source: str, present: Any) -> tuple[bool, bool | None] | None:
    """Return lowercasing and accent stripping as the tokenizer's files state them; None where they do not.

    ``tokenizer_config.json`` comes before ``tokenizer.json``. ``present`` is the normalizer that transformers made of
    them; it knows a ``tokenizer_config.json`` from elsewhere.
    """
    config, file = _json(source, "tokenizer_config.json"), _json(source, "tokenizer.json")
    parts = list(_parts(file["normalizer"])) if "normalizer" in file else []
    strips = next((part.get("strip_accents") for part in parts if part["type"] == "BertNormalizer"), None)
    if any(part["type"] == "StripAccents" for part in parts):
        strips = True
    if isinstance(config.get("do_lower_case"), bool):
        return bool(config["do_lower_case"]), config.get("strip_accents", strips if parts else present.strip_accents)
    if "normalizer" not in file:
        return None
    lowers = any(part["type"] == "Lowercase" or part.get("lowercase") is True for part in parts)
    return lowers, config.get("strip_accents", strips)


def _json(source: str, name: str) -> dict[str, Any]:
    """Return a checkpoint's JSON file, empty where it has none."""
    found = Path(source) / name if Path(source).is_dir() else _cached(source, name)
    if found is None or not Path(found).is_file():
        return {}
    content = json.loads(Path(found).read_text(encoding="utf-8-sig"))
    return content if isinstance(content, dict) else {}


def _cached(source: str, name: str) -> str | None:
    """Return the path of a hub checkpoint's file, which loading the tokenizer has fetched; None where it has none."""
    path: str | None = cached_file(
        source,
        name,
        local_files_only=True,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return path


def _parts(normalizer: Any) -> Iterator[dict[str, Any]]:
    """Yield a serialized normalizer, or those it is a sequence of."""
    if isinstance(normalizer, dict) and "type" in normalizer:
        yield normalizer
        for part in normalizer.get("normalizers", ()):
            yield from _parts(part)


def _pieces(tokenizer: Any) -> list[str]:
    """Return the vocabulary's pieces that have letters, without special tokens, ``[unused1]`` and the like."""
    special = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
    plain = (piece for piece in tokenizer.get_vocab() if piece not in special)
    return [piece for piece in plain if any(map(str.isalpha, piece)) and not (piece[0] == "[" and piece[-1] == "]")]


def _count(pieces: list[str], change: Any) -> int:
    """Return the number of pieces that never occur in text so changed."""
    return sum(change(piece) != piece for piece in pieces)


def _without_accents(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")


def _doubt(lowers: bool, capitals: int, pieces: list[str], cased: bool) -> str:
    """Return one line on how the vocabulary contradicts its tokenizer's files; empty where it does not."""
    if lowers and cased:
        return (
            f"the tokenizer lowercases, but {capitals} of its vocabulary's {len(pieces)} pieces have capitals, which "
            "are never used; if the checkpoint was trained on cased text, set do_lower_case to false in "
            "tokenizer_config.json"
        )
    small = sum(piece.upper() != piece for piece in pieces)
    if not lowers and not capitals and 2 * small > len(pieces):
        return (
            f"the tokenizer keeps capitals, but none of its vocabulary's {len(pieces)} pieces has any, so words with "
            "capitals cannot be read; if the checkpoint was trained on lowercased text, set do_lower_case to true in "
            "tokenizer_config.json"
        )
    return ""
