"""Trains a question-answering checkpoint from another checkpoint's encoder, to have one to tune on SQuAD.

    python bench/train_squad.py --encoder checkpoints/mrpc-minilm --task SQuAD-v1.1 --data-dir squad --output squad-v1

One pass over two thousand questions takes some minutes on two cores. A low F1 is what to expect of so little data: it
is the path from text to tuned model that this makes testable. The output loads with ``ilit bert tune``.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import torch
import transformers

from ilit_bert.checkpoints.tokenizer import load_tokenizer
from ilit_bert.data.length_batches import LengthBatches, Row
from ilit_bert.tasks.squad.read import read_questions
from ilit_bert.tasks.squad.windows import WindowSize, cut_windows, span_positions
from ilit_bert.tasks.table import find_task


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True, help="folder or hub id of any checkpoint of the architecture")
    parser.add_argument("--task", default="SQuAD-v1.1", help="SQuAD-v1.1 or SQuAD-v2.0")
    parser.add_argument("--data-dir", required=True, type=Path, help="folder with the train file")
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--questions", type=int, help="a random sample of so many questions; all without it")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=9527)
    return parser.parse_args()


def training_rows(asked: argparse.Namespace, tokenizer: transformers.PreTrainedTokenizerBase) -> list[Row]:
    """Return the windows of the chosen questions, labelled with the tokens where the answer starts and ends."""
    questions = read_questions(find_task(asked.task), asked.data_dir, "train")
    if asked.questions:
        questions = random.Random(asked.seed).sample(questions, min(asked.questions, len(questions)))  # noqa: S311
    windows = cut_windows(questions, tokenizer, WindowSize(asked.max_length, doc_stride=asked.max_length // 4))
    spans = [span_positions(window, questions[window.question]) for window in windows]
    rows = [
        Row(index, window.input_ids, window.token_type_ids, span)
        for index, (window, span) in enumerate(zip(windows, spans, strict=True))
    ]
    # In v1.1 a window without the answer teaches only to answer nothing, which there is never right.
    kept = rows if find_task(asked.task).unanswerable else [r for r in rows if r.label != (windows[r.id].null,) * 2]
    print(f"{len(questions)} questions, {len(kept)} windows of up to {asked.max_length} tokens", flush=True)
    return kept


def train(model: torch.nn.Module, rows: list[Row], pad_id: int, asked: argparse.Namespace) -> None:
    """Train in place by AdamW under one cycle of rates."""
    steps = asked.epochs * -(-len(rows) // asked.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=asked.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, asked.rate, total_steps=steps + 1, pct_start=0.1)
    begun, step = time.perf_counter(), 0
    model.train()
    for epoch in range(asked.epochs):
        batches = LengthBatches(rows, pad_id, token_types=True, batch_size=asked.batch_size, seed=asked.seed + epoch)
        for inputs, spans in batches:
            loss = model(**inputs, start_positions=spans[:, 0], end_positions=spans[:, 1]).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 20 == 0 or step == steps:
                seconds = time.perf_counter() - begun
                print(f"step {step} of {steps}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)


def main() -> None:
    """Train and save."""
    asked = arguments()
    torch.manual_seed(asked.seed)
    tokenizer = load_tokenizer(asked.encoder)
    # The head is new on purpose: that is what is trained here.
    model = transformers.AutoModelForQuestionAnswering.from_pretrained(
        asked.encoder, use_safetensors=True, dtype=torch.float32
    )
    train(model, training_rows(asked, tokenizer), tokenizer.pad_token_id or 0, asked)
    model.eval().save_pretrained(asked.output)
    tokenizer.save_pretrained(asked.output)
    print(f"saved {asked.output}")


if __name__ == "__main__":
    main()
