"""GLUE's files as they really are, and every way they can be wrong."""

from __future__ import annotations

import logging

import pytest

from ilit.errors import ConfigError, DataError, IlitError, ModelError
from ilit_bert.tasks.glue import Example, check_labels, read_examples, with_label_ids
from ilit_bert.tasks.table import TASKS, find_task

MNLI_HEADER = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
    "sentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label"
)
STSB_HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
MRPC_HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
# task, dev file's name, its text, what is read
OFFICIAL = [
    (
        "CoLA",
        "dev.tsv",
        'gj04\t1\t\tThe sailors rode the breeze.\nsgww85\t0\t*\tThis "is',
        [("The sailors rode the breeze.", None, 1), ('This "is', None, 0)],
    ),
    (
        "SST-2",
        "dev.tsv",
        "sentence\tlabel\nit 's a charm . \t1\nbleak \t0\n",
        [("it 's a charm . ", None, 1), ("bleak ", None, 0)],
    ),
    (
        "MRPC",
        "dev.tsv",
        f'\ufeff{MRPC_HEADER}\r\n1\t7\t8\tHe said "yes.\t"No"\r\n0\t1\t2\ta\tb\r\n',
        [('He said "yes.', '"No"', 1), ("a", "b", 0)],
    ),
    (
        "STS-B",
        "dev.tsv",
        f"{STSB_HEADER}\n0\tnews\tf\t2012\t1\tn\tn\tA man.\tA dog.\t3.750\n",
        [("A man.", "A dog.", 3.75)],
    ),
    (
        "QQP",
        "dev.tsv",
        f"{QQP_HEADER}\n1\t2\t3\tWhy?\tHow?\t0\n2\t5\t6\tWho?\t\t1\n",
        [("Why?", "How?", 0), ("Who?", "", 1)],
    ),
    (
        "MNLI",
        "dev_matched.tsv",
        f"{MNLI_HEADER}\n"
        + "\n".join(
            f"{i}\t1\t2\tg\tp\tp\tp\tp\tA\tB\tx\tx\tx\tx\tx\t{label}"
            for i, label in enumerate(["contradiction", "entailment", "neutral"])
        ),
        [("A", "B", 0), ("A", "B", 1), ("A", "B", 2)],
    ),
    (
        "MNLI-MM",
        "dev_mismatched.tsv",
        f"{MNLI_HEADER}\n0\t1\t2\tg\tp\tp\tp\tp\tA\tB\tx\tx\tx\tx\tx\tneutral\n",
        [("A", "B", 2)],
    ),
    (
        "QNLI",
        "dev.tsv",
        "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tnot_entailment\n1\tWho?\tHe.\tentailment\n",
        [("Who?", "He.", 1), ("Who?", "He.", 0)],
    ),
    ("RTE", "dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentailment\n", [("A", "B", 0)]),
    ("WNLI", "dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n", [("A", "B", 1)]),
]


def write(folder, text, name="dev.tsv"):
    """Write a file as it is, to the byte."""
    (folder / name).write_bytes(text.encode())
    return folder


@pytest.mark.parametrize(("task", "name", "text", "rows"), OFFICIAL, ids=[row[0] for row in OFFICIAL])
def test_reads_each_official_file(tmp_path, task, name, text, rows):
    """Each task's own file name, columns and labels are read as GLUE ships them."""
    write(tmp_path, text, name)
    examples = read_examples(find_task(task), tmp_path, "dev")
    assert [(e.text_a, e.text_b, e.label) for e in examples] == rows
    assert [e.row for e in examples] == list(range(len(rows)))


def test_all_of_glue_is_covered():
    """The table above has every task that has TSV files."""
    assert {row[0] for row in OFFICIAL} == {task.name for task in TASKS if task.columns}


def test_examples_know_their_line(tmp_path):
    """A message about an example can name its line, with and without a header."""
    write(tmp_path, "sentence\tlabel\na\t1\nb\t0\n")
    assert [e.where for e in read_examples(find_task("sst-2"), tmp_path, "dev")] == [
        f"{tmp_path}/dev.tsv:2",
        f"{tmp_path}/dev.tsv:3",
    ]
    write(tmp_path, "x\t1\t\ta\n")
    assert read_examples(find_task("cola"), tmp_path, "dev")[0].where == f"{tmp_path}/dev.tsv:1"


def test_text_separators_are_text(tmp_path):
    """Only LF ends a row: a lone CR, a form feed, a NUL or a Unicode line separator belongs to the text."""
    text = "a\rb\x0cc\u2028d\x00e"
    write(tmp_path, f"sentence\tlabel\n{text}\t1\n\n \n")
    assert [e.text_a for e in read_examples(find_task("sst2"), tmp_path, "dev")] == [text]


def test_columns_behind_the_needed_ones_may_be_missing(tmp_path):
    """A trailing column that the task does not use may be absent from a row."""
    write(tmp_path, "sentence\tlabel\tcomment\na\t1\nb\t0\tfine\n")
    assert len(read_examples(find_task("sst2"), tmp_path, "dev")) == 2


def test_columns_are_found_by_name(tmp_path):
    """The order of the columns does not matter where the file has a header."""
    write(tmp_path, "label\tsentence\n1\ta\n")
    assert read_examples(find_task("sst2"), tmp_path, "dev")[0].text_a == "a"


def test_qqp_leaves_out_rows_that_a_line_break_cut(tmp_path, caplog):
    """QQP's official file has rows cut in two; they are left out and counted, the rest keeps its numbers."""
    write(tmp_path, f"{QQP_HEADER}\n1\t2\t3\tWhy?\tHow\n now?\t0\n2\t5\t6\tWho?\tWhat?\t1\n", "train.tsv")
    with caplog.at_level(logging.WARNING):
        examples = read_examples(find_task("qqp"), tmp_path, "train")
    assert [(e.row, e.text_a, e.where) for e in examples] == [(0, "Who?", f"{tmp_path}/train.tsv:4")]
    assert "left out 2 rows" in caplog.text
    assert "line 2" in caplog.text


BROKEN = [
    ("empty file", "SST-2", "", "dev.tsv: is empty"),
    ("blank file", "SST-2", "\n\n", "dev.tsv: is empty"),
    ("header only", "SST-2", "sentence\tlabel\n", "dev.tsv: holds no rows"),
    (
        "missing column",
        "MRPC",
        "Qualty\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\ta\tb\n",
        "no column 'Quality', which MRPC needs; the file has 'Qualty', '#1 ID', '#2 ID', '#1 String', '#2 String'; did",
    ),
    ("no header", "SST-2", "good\t1\n", "dev.tsv:1: no column 'sentence', which SST-2 needs; the file has 'good', '1'"),
    ("bad label", "SST-2", "sentence\tlabel\na\t1\nb\t2\n", "dev.tsv:3: label '2' is none of SST-2's; allowed: 0, 1"),
    (
        "no gold label",
        "RTE",
        "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t-\n",
        "dev.tsv:2: label '-' is none of RTE's; allowed: entailment, not_entailment",
    ),
    (
        "bad score",
        "STS-B",
        f"{STSB_HEADER}\n0\tn\tf\t2012\t1\tn\tn\tA\tB\tfive\n",
        "dev.tsv:2: label 'five' is no score of STS-B; allowed: numbers from 0 to 5",
    ),
    ("score out of range", "STS-B", f"{STSB_HEADER}\n0\tn\tf\t2012\t1\tn\tn\tA\tB\t5.5\n", "label '5.5' is no score"),
    ("score nan", "STS-B", f"{STSB_HEADER}\n0\tn\tf\t2012\t1\tn\tn\tA\tB\tnan\n", "label 'nan' is no score"),
    (
        "too few fields",
        "MRPC",
        f"{MRPC_HEADER}\n1\t2\t3\ta\tb\n1\t2\t3\ta\n",
        "dev.tsv:3: 4 tab-separated fields where MRPC has 5; mend the line",
    ),
    ("too many fields", "SST-2", "sentence\tlabel\na\tb\t1\n", "dev.tsv:2: 3 tab-separated fields where SST-2 has 2"),
    ("too many fields, trailing ones optional", "SST-2", "sentence\tlabel\tx\na\t1\t2\t3\n", "where SST-2 has 2 to 3"),
    ("blank line inside", "SST-2", "sentence\tlabel\na\t1\n\nb\t1\n", "dev.tsv:3: 1 tab-separated fields"),
    ("CoLA with a header", "CoLA", "source\tlabel\tstar\tsentence\n", "dev.tsv:1: label 'label' is none of CoLA's"),
]


@pytest.mark.parametrize(("task", "text", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_refuses_a_broken_file(tmp_path, task, text, message):
    """A damaged file is refused in one line that names file, line, what is wrong and what would be right."""
    write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_examples(find_task(task), tmp_path, "dev")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuses_another_encoding(tmp_path):
    """A file that is not UTF-8 is refused with the byte."""
    (tmp_path / "dev.tsv").write_bytes("sentence\tlabel\ncafé\t1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"dev\.tsv: byte 18 is not UTF-8; save the file as UTF-8"):
        read_examples(find_task("sst2"), tmp_path, "dev")


def test_squad_is_read_elsewhere(tmp_path):
    """Asking the TSV reader for SQuAD is refused."""
    with pytest.raises(ConfigError, match=r"SQuAD-v1\.1' has no TSV files"):
        read_examples(find_task("squad"), tmp_path, "dev")


@pytest.mark.parametrize(
    ("label", "num_labels", "error", "message"),
    [
        (2, 2, DataError, "d:7: label 2 is out of range, the model has 2 labels (0 to 1); use a checkpoint"),
        (1, 1, ModelError, "the model has 1 output, a score, but d:7 has a class label (1)"),
        (2.5, 3, ModelError, "the model has 3 outputs, but d:7 has a score (2.5)"),
    ],
    ids=["range", "class for a regression head", "score for a classification head"],
)
def test_labels_the_model_cannot_give(label, num_labels, error, message):
    """A label out of the model's range is refused with its line before anything is computed."""
    with pytest.raises(IlitError) as caught:
        check_labels([Example(0, "a", None, None, "d:6"), Example(1, "a", None, label, "d:7")], num_labels)
    assert type(caught.value) is error
    assert message in str(caught.value)


def test_labels_the_model_can_give():
    """Labels in range, scores for one output and rows without a label pass."""
    check_labels([Example(0, "a", None, 0), Example(1, "b", None, 2), Example(2, "c")], 3)
    check_labels([Example(0, "a", None, 0.0)], 1)


def test_label_ids_are_put_into_new_examples():
    """Class labels take the model's ids, scores stay, and the given examples are as before."""
    given = [Example(0, "a", None, 2), Example(1, "b", None, 1.5)]
    assert [e.label for e in with_label_ids(given, (1, 2, 0))] == [0, 1.5]
    assert given[0].label == 2


def test_real_files(shared):
    """The public files are read whole."""
    mrpc = read_examples(find_task("mrpc"), shared / "glue/MRPC", "dev")
    assert (len(mrpc), sum(e.label for e in mrpc)) == (1725, 1147)
    assert len(read_examples(find_task("mrpc"), shared / "glue/MRPC", "train")) == 4076
    assert len(read_examples(find_task("sst-2"), shared / "glue/SST-2", "dev")) == 872
