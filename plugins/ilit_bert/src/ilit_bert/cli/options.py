"""Flags that several commands share; each is also known by its name in Hugging Face's GLUE scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelFlag = Annotated[
    str, typer.Option("--model", "--model_name_or_path", help="Checkpoint folder, or an id on the Hugging Face hub.")
]
TaskFlag = Annotated[str, typer.Option("--task", "--task_name", help="Task, such as MRPC, SST-2 or SQuAD-v1.1.")]
DataFlag = Annotated[Path, typer.Option("--data-dir", "--data_dir", help="Folder with the task's files.")]
OutputFlag = Annotated[Path, typer.Option("--output", "--output_dir", help="Folder for the tuned model.")]
MetricFlag = Annotated[
    str | None, typer.Option("--metric", help="One of the task's metrics; each task has one it is tuned on.")
]
LengthFlag = Annotated[
    int | None,
    typer.Option("--max-length", "--max_seq_length", help="Tokens of an input at most; 128, for SQuAD 384."),
]
BatchFlag = Annotated[int, typer.Option("--batch-size", "--per_device_eval_batch_size", min=1, help="Rows of a batch.")]
SamplesFlag = Annotated[
    int | None, typer.Option("--eval-samples", min=1, help="Only the first so many examples of the dev split.")
]
