"""``ilit check``: read a configuration as a run would, and say what it would search for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ilit.cli.output import JsonFlag, only_json, report
from ilit.config import Config, OpLimits, PartSpec, TensorLimits, TransformLimits, read_config, resolved, resolved_yaml
from ilit.plugins.components import check_names
from ilit.plugins.registry import Registry, installed_plugins


def check(conf: Annotated[Path, typer.Argument(help="The configuration.")], as_json: JsonFlag = False) -> None:
    """Check a configuration and print it with every default filled in."""
    with only_json(as_json), _log_lines() as logged:
        config = read_config(conf)
        installed = installed_plugins()
        notes = [*logged, *check_names(config, installed)]
        searched = _searched(config, installed)
    data = {"source": config.source, "config": resolved(config), "search": searched, "notes": notes}
    report(data, as_json, lambda console: _show(config, searched, notes, console))


class _Collect(logging.Handler):
    """Keeps the text of each record."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextlib.contextmanager
def _log_lines() -> Iterator[list[str]]:
    """Collect what the logger ``ilit`` says, such as the present names of older keys."""
    logger, lines = logging.getLogger("ilit"), list[str]()
    handler, level = _Collect(lines), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _searched(config: Config, installed: Registry) -> dict[str, str]:
    """Return what a run with this configuration would do, a sentence each."""
    strategy = installed.provenance("strategy", config.strategy.name)
    return {
        "strategy": f"{_named(config.strategy)} of {strategy.distribution} {strategy.version}".strip(),
        "metric": _named(config.metric) if config.metric else "none named; Tuner.tune needs an eval_func",
        "criterion": _criterion(config),
        "stop": _stop(config),
        "calibration": " or ".join(map(str, config.calibrations)),
        "model": _limits(config.model_limits) or "all that adapter and CPU offer",
        "transforms": _transforms(config.transforms),
        "verdict": _verdict(config),
        **{f"op {entry.pattern}": _limits(entry) for entry in config.op_limits},
    }


def _named(named: PartSpec) -> str:
    options = [*([] if named.value is None else [str(named.value)]), *(f"{k}={v}" for k, v in named.options.items())]
    return f"{named.name} ({', '.join(options)})" if options else named.name


def _criterion(config: Config) -> str:
    tolerance = config.criterion.tolerance
    loss = f"{tolerance * 100:g} % of" if config.criterion.kind == "relative" else f"{tolerance:g} off"
    direction = {None: "the metric says which way is better", True: "higher is better", False: "lower is better"}
    return f"at most {loss} the float32 model's score may be lost; {direction[config.higher_is_better]}"


def _stop(config: Config) -> str:
    limit = f"{config.max_trials} trials" + (f" or {config.timeout:g} s" if config.timeout else "")
    if config.stop == "met":
        return f"at the first recipe that meets the criterion, or after {limit}"
    return f"after {limit}, with the best by {config.objective.name}"


def _transforms(limits: TransformLimits) -> str:
    strengths = "/".join(f"{alpha:g}" for alpha in limits.smooth or ())
    smooth = "as offered" if limits.smooth is None else f"of {strengths}" if strengths else "forbidden"
    allowed = {None: "as offered", True: "allowed", False: "forbidden"}
    return (
        f"smoothing {smooth}; bias correction {allowed[limits.bias_correction]}; "
        f"activations per token {allowed[limits.per_token]}"
    )


def _verdict(config: Config) -> str:
    rows = f"the {config.holdout * 100:g} % of the rows kept from the search" if config.holdout else "all rows"
    return f"with {config.confidence * 100:g} % confidence, on {rows}"


def _limits(limits: OpLimits) -> str:
    parts = [*limits.dtype, *limits.approach]
    for name, tensor in (("weight", limits.weight), ("activation", limits.activation)):
        said = " ".join(_tensor(tensor))
        parts += [f"{name} {said}"] if said else []
    return "; ".join(parts)


def _tensor(limits: TensorLimits) -> list[str]:
    bits = [f"{'/'.join(map(str, limits.bits))} bits"] if limits.bits else []
    leaves = (limits.dtype, limits.scheme, limits.granularity, limits.algorithm)
    return [*("/".join(values) for values in leaves if values), *bits]


def _show(config: Config, searched: dict[str, str], notes: list[str], console: Console) -> None:
    console.print(resolved_yaml(config), markup=False, soft_wrap=True)
    for name, sentence in searched.items():
        console.print(f"{name}: {sentence}", markup=False, soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
