"""The commands of ``ilit bert``, one file each. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import typer

from ilit_bert.cli.benchmark import benchmark
from ilit_bert.cli.demo import demo
from ilit_bert.cli.evaluate import evaluate
from ilit_bert.cli.predict import predict
from ilit_bert.cli.tune import tune
from ilit_bert.cli.tune_suite import tune_suite

bert = typer.Typer(help="Tune, evaluate, time and use BERT and its kin on GLUE and SQuAD.", no_args_is_help=True)
for command in (tune, evaluate, predict, benchmark, tune_suite, demo):
    bert.command()(command)
