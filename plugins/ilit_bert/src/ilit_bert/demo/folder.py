"""The demo's folder: corpus and checkpoint written into it, and the job for ``ilit bert tune``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ilit.errors import ConfigError
from ilit_bert.checkpoints.folder import check_writable
from ilit_bert.checkpoints.loading import quiet
from ilit_bert.demo.corpus import Review, reviews, write_tsv
from ilit_bert.demo.model import BATCH, FACTOR, new_model, plant, train_model, train_tokenizer
from ilit_bert.tune import TuneJob

TASK = "SST-2"
DEV_ROWS = 1000
STEPS = 1200
MARK = "demo.json"
TUNED = "tuned"


@dataclass(frozen=True)
class Demo:
    """The demo's folder and the outliers planted in its checkpoint.

    Attributes:
        checkpoint: folder of the float checkpoint, outliers planted.
        data_dir: folder with ``train.tsv`` and ``dev.tsv``.
        planted: names of the ops that the outliers hurt.
        factor: what the rows were multiplied by.
        parameters: of the model.
        steps: of training.
    """

    checkpoint: Path
    data_dir: Path
    planted: tuple[str, ...]
    factor: float
    parameters: int
    steps: int


def make(
    folder: Path, *, steps: int = STEPS, seed: int = 9527, on_step: Callable[[int, float], None] | None = None
) -> Demo:
    """Write corpus and checkpoint into ``folder``; the same files for the same seed, torch version and CPU.

    Args:
        folder: new, empty, or of an earlier demo, whose files are then replaced.
        steps: of training, of 32 reviews each; no review is seen twice.
        seed: of corpus, initial weights and training.
        on_step: told each step's number, from 1, and its loss.

    Raises:
        ConfigError: ``folder`` holds something else, or ``steps`` is less than 1.
        ArtefactError: ``folder`` cannot be made.
    """
    if steps < 1:
        raise ConfigError(f"steps {steps}: at least 1 is needed")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file())):
        raise ConfigError(f"{folder}: is not empty and no earlier demo's; name a new folder")
    check_writable(folder / TUNED)
    data_dir, checkpoint = folder / "data", folder / "checkpoint"
    data_dir.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    train = _write_splits(data_dir, steps * BATCH, seed)
    tokenizer = train_tokenizer(train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = train_model(new_model(tokenizer), tokenizer, train, on_step)
    planted = plant(model)
    with quiet():
        model.save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    demo = Demo(checkpoint, data_dir, planted, FACTOR, parameters, steps)
    (folder / MARK).write_text(json.dumps(asdict(demo), default=str, indent=2) + "\n", encoding="utf-8")
    return demo


def _write_splits(data_dir: Path, training_rows: int, seed: int) -> tuple[Review, ...]:
    """Write ``dev.tsv`` and ``train.tsv``, which share no review; return the training rows."""
    rows = reviews(DEV_ROWS + training_rows, seed)
    dev, train = rows[:DEV_ROWS], rows[DEV_ROWS:]
    write_tsv(dev, data_dir / "dev.tsv")
    write_tsv(train, data_dir / "train.tsv")
    return train


def job(demo: Demo, folder: Path) -> TuneJob:
    """Return the demo's tuning job: the default criterion, 1 % relative, and the default strategy.

    The objective is the model's size, which is the same on every machine: whether layers this small are faster in INT8
    depends on what else the machine is doing.
    """
    config = {"run": {"folder": str(folder / "runs")}, "tuning": {"objective": "modelsize"}}
    # After very few steps the model knows nothing, which is what was asked for.
    return TuneJob(str(demo.checkpoint), TASK, demo.data_dir, folder / TUNED, config, allow_weak_baseline=True)
