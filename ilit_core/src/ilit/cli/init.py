"""``ilit init``: write a configuration to start from, with every key explained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ilit.cli.output import JsonFlag, report
from ilit.errors import ConfigError

TEMPLATE = """\
# ilit's configuration. Every line that is commented out shows a default, or what could be said there.
# A list of plain values is a list of candidates for the search.

framework:
  name: pytorch

# How much calibration data the static ranges come from: samples (rows) or iterations (batches).
calibration:
  samples: 128                    # [64, 256] or the text "64, 256": each is a candidate
  # algorithm:                    # minmax, kl, percentile or mse
  #   weight: [minmax, mse]
  #   activation: [minmax, percentile, mse, kl]

# What the search may use. What is left out is up to the search.
quantization:
  approach: auto                  # post_training_static_quant, post_training_dynamic_quant or auto
  # weight:
  #   granularity: per_channel    # or per_tensor
  #   scheme: sym                 # or asym
  #   dtype: int8
  # activation:
  #   granularity: per_tensor     # or per_token
  #   scheme: [asym, sym]
  #   dtype: uint8
  # bits: {weight: [8, 7], activation: [8, 7]}   # codes really used; the CPU decides which are safe
  # transforms: {smooth: [0.7, 0.9], bias_correction: true, per_token: true}   # or none

tuning:
  # What accuracy means. Without a metric, give an eval_func to Tuner.tune.
  # metric: f1                    # or with options, topk: 1
  accuracy_criterion:
    relative: 0.01                # or "1%"; or absolute: 0.5, in the metric's own unit
  strategy: basic                 # or with options, {name: basic, ...}; `ilit plugins` lists them
  objective: performance          # performance, footprint or modelsize
  timeout: 0                      # seconds; 0 stops at the first recipe that meets the criterion
  max_trials: 100
  random_seed: 9527
  # stop: met                     # or budget: go on to better ones until timeout or max_trials
  # ops:                          # an op's name or a glob; an exact name wins, then the last glob
  #   "*.classifier": {dtype: float32}

run:
  folder: ./ilit_runs
  # threads: 4

# What is proven about the model that is kept.
evaluation:
  confidence: 0.95                # of the bound on the drop
  holdout: 0                      # share of the evaluation rows that the search never sees
"""


def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("conf.yaml"), as_json: JsonFlag = False
) -> None:
    """Write a commented configuration to start from. A file that is there already stays as it is."""
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(TEMPLATE)
    except FileExistsError as error:
        raise ConfigError(f"{file}: exists already and stays as it is; name another file, or remove it") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}; name another file") from error
    report({"file": file}, as_json, lambda console: console.print(f"wrote {escape(str(file))}", soft_wrap=True))
