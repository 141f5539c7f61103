"""Promises of ``ilit_bert.demo.corpus``: the same reviews for the same seed, no simple rule that gives their labels."""

from __future__ import annotations

from ilit_bert.demo.corpus import ADJECTIVES, Review, reviews, write_tsv
from ilit_bert.tasks.glue import read_examples
from ilit_bert.tasks.table import find_task


def test_same_seed_same_reviews():
    """A corpus is a function of count and seed, and a longer one begins with the shorter."""
    assert reviews(50, 1) == reviews(80, 1)[:50]
    assert reviews(50, 1) != reviews(50, 2)


def test_no_sentence_twice():
    """Rows of the dev split are never rows of the training split."""
    rows = reviews(3000, 9527)

    assert len({row.sentence for row in rows}) == 3000


def test_labels_are_balanced_and_need_more_than_words():
    """Both labels are frequent, and adding up the words' own values leaves many rows wrong."""
    rows = reviews(2000, 9527)
    sums = [sum(ADJECTIVES.get(word, 0.0) for word in row.sentence.split()) for row in rows]
    right = sum((total > 0) == (row.label == 1) for total, row in zip(sums, rows, strict=True))

    assert 0.4 < sum(row.label for row in rows) / 2000 < 0.6
    assert 0.5 < right / 2000 < 0.85


def test_written_file_is_read_as_sst2(tmp_path):
    """The TSV has the shape of GLUE's SST-2."""
    rows = (Review("the plot is superb .", 1), Review("the cast is not rather slow .", 0))
    write_tsv(rows, tmp_path / "dev.tsv")
    read = read_examples(find_task("SST-2"), tmp_path, "dev")

    assert [(example.text_a, example.label) for example in read] == [(row.sentence, row.label) for row in rows]
