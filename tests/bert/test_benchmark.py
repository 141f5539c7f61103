"""Promises of ``ilit_bert.benchmark``: which models take turns on which tokens, and what is refused before."""

from __future__ import annotations

import shutil

import pytest
import torch
import transformers

from ilit.errors import ConfigError, ModelError
from ilit_bert import benchmark as work
from ilit_bert.benchmark import BenchmarkJob, benchmark, positions


def job(sentiment, **changes):
    """Return a job that takes no time, with changes."""
    options = {"batch_sizes": (2,), "seq_lengths": (8,), "repeats": 2, "loads": 0}
    return BenchmarkJob(sentiment / "checkpoint", **(options | changes))


def test_every_batch_size_with_every_length(sentiment, tuned_sentiment):
    """Float32, INT8 and torch's own run in each case as often as was asked for."""
    steps = []
    grid = {"batch_sizes": (1, 3), "seq_lengths": (4, 64)}
    found = benchmark(job(sentiment, int8=tuned_sentiment, **grid), lambda *step: steps.append(step))
    assert [(case.batch_size, case.seq_length) for case in found.cases] == [(1, 4), (1, 64), (3, 4), (3, 64)]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for case in found.cases:
        assert {name: len(times) for name, times in case.seconds.items()} == {"fp32": 2, "int8": 2, "dynamic": 2}
    assert found.sizes["int8"] < found.sizes["fp32"]
    assert found.int8_kernels > 0
    assert set(found.files) == {"fp32", "int8"}
    assert {"ilit", "python", "torch", "transformers"} <= set(found.versions)


def test_float32_alone(sentiment):
    """Without a tuned model there is the checkpoint, and torch's own INT8 unless it is not wanted."""
    assert set(benchmark(job(sentiment)).cases[0].seconds) == {"fp32", "dynamic"}
    alone = benchmark(job(sentiment, dynamic=False))
    assert (set(alone.cases[0].seconds), alone.int8_kernels, set(alone.sizes)) == ({"fp32"}, None, {"fp32"})


def test_a_comparison_that_does_not_work_is_left_out_and_said(sentiment, monkeypatch):
    """With torch's reason, and the others are measured."""

    def broken(model):
        raise RuntimeError("didn't find engine")

    monkeypatch.setattr(work, "quantize_dynamic", broken)
    found = benchmark(job(sentiment))
    assert set(found.cases[0].seconds) == {"fp32"}
    assert "quantize_dynamic does not work here, so it is left out (RuntimeError: didn't find engine)" in found.notes[0]


def test_tokens_are_the_same_for_all_and_none_is_padding(sentiment, monkeypatch):
    """Full rows of the vocabulary, drawn from the seed, with a mask of ones."""
    batches = []

    def interleave(passes, repeats):
        batches.append([run.keywords for run in passes.values()])
        return {name: [1.0] for name in passes}

    monkeypatch.setattr(work, "interleave", interleave)
    for seed in (1, 1, 2):
        benchmark(job(sentiment, seed=seed, batch_sizes=(256,)))
    (first, other), (again, _), (third, _) = batches
    vocabulary = transformers.AutoConfig.from_pretrained(sentiment / "checkpoint").vocab_size
    assert first is not third
    assert torch.equal(first["input_ids"], other["input_ids"])
    assert torch.equal(first["input_ids"], again["input_ids"])
    assert not torch.equal(first["input_ids"], third["input_ids"])
    assert first["input_ids"].shape == first["attention_mask"].shape == (256, 8)
    assert 0 < int(first["input_ids"].min()) <= int(first["input_ids"].max()) < vocabulary
    assert bool(first["attention_mask"].all())


def test_threads_are_put_back(sentiment, monkeypatch):
    """The figures are of the number that was asked for, and the process is as it was."""
    before = torch.get_num_threads()
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(before + 1)))
    assert benchmark(job(sentiment, threads=before + 1)).cpu.threads == before + 1
    assert torch.get_num_threads() == before


def test_a_busy_machine_is_said(sentiment, monkeypatch):
    """Once for each case, with what to do about it."""
    spread = [1.0, 1.4, 0.6, 1.5, 0.5]
    monkeypatch.setattr(work, "interleave", lambda passes, repeats: dict.fromkeys(passes, spread))
    (note,) = benchmark(job(sentiment)).notes
    assert note.startswith("batch 2 x 8: the machine was busy")


MISTAKES = {
    "folder": ({"int8": "nowhere"}, ModelError, "nowhere: holds no tuned model"),
    "length": ({"seq_lengths": (8, 65)}, ConfigError, "sequence length 65: .* takes 1 to 64 tokens"),
    "no length": ({"seq_lengths": (0,)}, ConfigError, "sequence length 0: at least 1 is needed"),
    "no rows": ({"batch_sizes": (0,)}, ConfigError, "batch size 0: at least 1 is needed"),
    "threads": ({"threads": 4096}, ConfigError, "threads 4096: this process may use 1 to"),
    "no threads": ({"threads": 0}, ConfigError, "threads 0: this process may use 1 to"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(mistake, sentiment):
    """Where, what, cure."""
    changes, kind, text = MISTAKES[mistake]
    with pytest.raises(kind, match=text) as caught:
        benchmark(job(sentiment, **changes))
    assert len(str(caught.value).splitlines()) == 1


def test_models_in_each_others_places_are_refused(sentiment, tuned_sentiment, tmp_path):
    """A tuned model is no float checkpoint, and that of another architecture tells nothing."""
    with pytest.raises(ModelError, match="is a tuned model; give its float checkpoint as --model"):
        benchmark(BenchmarkJob(tuned_sentiment))
    shutil.copytree(sentiment / "checkpoint", tmp_path / "other")
    config = transformers.BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match=r"its num_hidden_layers is 2, that of .* 1; give the checkpoint it was tuned"):
        benchmark(BenchmarkJob(tmp_path / "other", tuned_sentiment))


def test_positions_beyond_padding_are_no_tokens():
    """RoBERTa's table of 514 is for 512 tokens, BERT's of 512 for 512, and T5 has no limit."""
    small = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    roberta = transformers.RobertaConfig(**small, intermediate_size=8, max_position_embeddings=514)
    bert = transformers.BertConfig(**small, intermediate_size=8)
    t5 = transformers.T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=1)
    assert positions(transformers.RobertaModel(roberta)) == 512
    assert positions(transformers.BertModel(bert)) == 512
    assert positions(transformers.T5EncoderModel(t5)) is None
