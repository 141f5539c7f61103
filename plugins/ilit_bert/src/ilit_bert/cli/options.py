"""Options that several commands share; each is also known by its name in Hugging Face's GLUE scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ilit.errors import ConfigError

Model = Annotated[
    str, typer.Option("--model", "--model_name_or_path", help="Checkpoint folder, or an id on the Hugging Face hub.")
]
Task = Annotated[str, typer.Option("--task", "--task_name", help="Task, such as MRPC, SST-2 or SQuAD-v1.1.")]
DataDir = Annotated[Path, typer.Option("--data-dir", "--data_dir", help="Folder with the task's files.")]
Output = Annotated[Path, typer.Option("--output", "--output_dir", help="Folder for the tuned model.")]
Metric = Annotated[
    str | None, typer.Option("--metric", help="One of the task's metrics; each task has one it is tuned on.")
]
MaxLength = Annotated[
    int | None,
    typer.Option("--max-length", "--max_seq_length", help="Tokens of an input at most; 128, for SQuAD 384."),
]
BatchSize = Annotated[int, typer.Option("--batch-size", "--per_device_eval_batch_size", min=1, help="Rows of a batch.")]
Labels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="What the checkpoint's ids stand for, in their order, such as entailment,neutral,contradiction; needed "
        "where its config.json does not name them.",
    ),
]
EvalSamples = Annotated[
    int | None, typer.Option("--eval-samples", min=1, help="Only the first so many examples of the dev split.")
]

Saturate = Annotated[
    bool,
    typer.Option(
        "--saturate",
        help="Score a tuned model as it would answer on a CPU without VNNI, where pairs of products saturate in 16 "
        "bits. Emulated, so it takes long.",
    ),
]


def label_names(text: str | None) -> tuple[str, ...] | None:
    """Return the names in the value of ``--labels``.

    Raises:
        ConfigError: a name is empty.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ConfigError(f"labels '{text}': a name is empty; separate the names by single commas")
    return names
