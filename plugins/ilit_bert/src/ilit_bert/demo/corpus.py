"""The demo's corpus: short reviews from a seeded grammar, labelled by the sum of their clauses' sentiments.

No word alone decides: clauses are negated, strengthened, weakened and outweighed by what follows a "but", and the
label of an almost balanced review is drawn, as people disagree there. A small BERT so stays near an accuracy of 0.9,
with many rows close to its decision boundary, where damage to the model shows.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUBJECTS = ("plot", "cast", "script", "music", "ending", "pacing", "dialogue", "camera work", "humour", "lead", "story")
OPENERS = ("", "", "", "frankly ,", "in the end", "for me", "on the whole", "at two hours")
ADJECTIVES = {
    "superb": 3.0, "brilliant": 3.0, "moving": 2.0, "witty": 2.0, "charming": 2.0, "pleasant": 1.0, "decent": 1.0,
    "uneven": -1.0, "slow": -1.0, "clumsy": -2.0, "tedious": -2.0, "lifeless": -2.0, "dreadful": -3.0, "awful": -3.0,
}  # fmt: skip
DEGREES = {"": 1.0, "rather": 0.5, "utterly": 1.5}
JOINS = {"and": 1.0, ", but": 1.5}
DOUBT = 0.5


@dataclass(frozen=True)
class Review:
    """One row: ``label`` is 1 for a good review, 0 for a bad one."""

    sentence: str
    label: int


def _clause(rng: random.Random) -> tuple[str, float]:
    """Return a clause and its sentiment, positive for praise."""
    adjective, degree = rng.choice(tuple(ADJECTIVES)), rng.choice(tuple(DEGREES))
    negated = rng.random() < 0.25
    words = ("the", rng.choice(SUBJECTS), "is", "not" if negated else "", degree, adjective)
    value = ADJECTIVES[adjective] * DEGREES[degree] * (-1.0 if negated else 1.0)
    return " ".join(word for word in words if word), value


def review(rng: random.Random) -> Review:
    """Return one review of one or two clauses."""
    text, total = _clause(rng)
    if rng.random() < 0.5:
        join = rng.choice(tuple(JOINS))
        more, value = _clause(rng)
        text, total = f"{text} {join} {more}", total + value * JOINS[join]
    opener = rng.choice(OPENERS)
    praised = rng.random() < 1.0 / (1.0 + math.exp(-total / DOUBT))
    return Review(f"{opener} {text} .".strip(), int(praised))


def reviews(count: int, seed: int) -> tuple[Review, ...]:
    """Return ``count`` reviews with no sentence twice, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 (a corpus, not a secret)
    found: dict[str, Review] = {}
    while len(found) < count:
        candidate = review(rng)
        found.setdefault(candidate.sentence, candidate)
    return tuple(found.values())


def write_tsv(rows: Sequence[Review], file: Path) -> None:
    """Write rows as SST-2 has them: a header, then sentence and label, separated by a tab."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        writer.writerow(("sentence", "label"))
        writer.writerows((row.sentence, row.label) for row in rows)
