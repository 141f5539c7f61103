"""``ilit bert demo``: train a small BERT, plant outliers in it, tune it, say whether the search found them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ilit.cli import JsonFlag, only_json, report
from ilit_bert.cli.progress import progress
from ilit_bert.cli.tune import as_mapping, exit_code, show

if TYPE_CHECKING:
    from ilit_bert.demo.folder import Demo
    from ilit_bert.tune import TuneReport

# Written out rather than imported: importing the demo at every start of the command line would load torch.
_STEPS = 1200


def demo(
    output: Annotated[Path, typer.Option("--output", help="Folder for everything the demo writes.")] = Path(
        "ilit_demo"
    ),
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Steps of training; fewer are faster and worse.")
    ] = _STEPS,
    seed: Annotated[int, typer.Option("--seed", help="Of corpus, training and search.")] = 9527,
    as_json: JsonFlag = False,
) -> int:
    """Train a small BERT on a corpus made here, plant outliers in it, and tune it as 'ilit bert tune' does.

    Nothing is downloaded. It takes about two minutes on two cores.
    """
    from ilit_bert.demo import folder as work
    from ilit_bert.tune import tune

    told = Console(stderr=True, highlight=False, soft_wrap=True)
    with only_json(as_json):
        told.print(f"training a small BERT on {steps} batches of generated film reviews")
        with progress("training") as step:
            made = work.make(output, steps=steps, seed=seed, on_step=lambda done, _: step(done, steps))
        told.print(f"checkpoint {made.checkpoint}, data {made.data_dir}, {made.parameters} parameters")
        told.print(f"planted outliers, {made.factor:g} times the rest, in what these read: {', '.join(made.planted)}")
        told.print("float32 does not notice them; INT8 with one scale for all channels does")
        with progress("evaluating") as step:
            tuned = tune(work.job(made, output), step)
    # With all of them in plain INT8 the model is wrecked, so what passes has each repaired in INT8 or in float32.
    data = {**as_mapping(tuned), "planted": list(made.planted), "found": tuned.summary.passed}
    report(data, as_json, lambda console: _show(made, tuned, console))
    return exit_code(tuned)


def _show(made: Demo, tuned: TuneReport, console: Console) -> None:
    show(tuned, console)
    in_float = set(made.planted).intersection(tuned.summary.chosen.ops.ops_float)
    repaired = f"repaired by the search, {len(in_float)} in float32 and {len(made.planted) - len(in_float)} in INT8"
    outcome = repaired if tuned.summary.passed else "not repaired"
    console.print(f"planted   {', '.join(made.planted)}: {outcome}", highlight=False, soft_wrap=True)
    command = f"ilit bert evaluate --model {tuned.output} --task {tuned.task} --data-dir {made.data_dir}"
    console.print(f"try       {command}", highlight=False, soft_wrap=True)
