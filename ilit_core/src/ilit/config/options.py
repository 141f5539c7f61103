"""``Config`` and ``OPTIONS``, the table of its keys: a new option is a row there, and a field if it needs one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ilit.config.model import (
    APPROACHES,
    TENSOR_READERS,
    OpLimits,
    PartSpec,
    TransformLimits,
    metric,
    ops,
    part,
    transforms,
    write_approach,
    write_metric,
    write_ops,
    write_part,
    write_transforms,
)
from ilit.config.readers import Reader, choice, counts, flag, real, share, text, unsupported, whole
from ilit.config.schema import Option, OptionTable
from ilit.config.tree import Node
from ilit.criterion import Criterion
from ilit.errors import UnsupportedError
from ilit.space import CalibrationSize


@dataclass(frozen=True)
class Config:
    """One run's configuration, resolved: every default filled in. Two are equal when they ask for the same run.

    Attributes:
        framework: the adapter's name, empty where the model decides.
        calibrations: amounts of calibration data, each a candidate.
        model_limits: limits for the whole model.
        op_limits: limits by op name or glob, in the file's order.
        transforms: what the search may use beside plain quantization.
        metric: None where the configuration names none.
        criterion: its direction is True as a stand-in until the metric is known, unless ``higher_is_better`` was
            given.
        higher_is_better: as given, or None where the metric decides.
        timeout: seconds; 0 sets no limit.
        stop: ``met`` ends at the first accepted recipe, ``budget`` at the timeout or the strategy's end.
        threads: threads the kernels may use; None leaves them as they are.
        confidence: of the bound on the drop that the verdict states, above 0.5 and below 1.
        holdout: share of the evaluation rows that the search never sees and the verdict is taken on, 0 to below 1.
        source: the file as the user named it, or ``Tuner(...)``.
    """

    framework: str = ""
    device: str = "cpu"
    calibrations: tuple[CalibrationSize, ...] = (CalibrationSize(128, "rows"),)
    model_limits: OpLimits = field(default_factory=OpLimits)
    op_limits: tuple[OpLimits, ...] = ()
    transforms: TransformLimits = field(default_factory=TransformLimits)
    metric: PartSpec | None = None
    criterion: Criterion = field(default_factory=Criterion)
    higher_is_better: bool | None = None
    strategy: PartSpec = field(default_factory=lambda: PartSpec("basic"))
    objective: PartSpec = field(default_factory=lambda: PartSpec("performance"))
    executor: PartSpec = field(default_factory=lambda: PartSpec("serial"))
    timeout: float = 0.0
    stop: Literal["met", "budget"] = "met"
    max_trials: int = 100
    random_seed: int = 9527
    run_folder: Path = Path("./ilit_runs")
    threads: int | None = None
    confidence: float = 0.95
    holdout: float = 0.0
    source: str = field(default="", compare=False)


def _read_device(node: Node) -> str:
    name = text(node)
    if name != "cpu":
        raise node.error(f"{name!r} is not supported; ilit tunes for 'cpu' only")
    return name


_RESUME = choice({word: word for word in ("never", "auto", "require")})


def _read_resume(node: Node) -> str:
    word = _RESUME(node)
    if word != "never":
        raise unsupported(node, f"{word!r} is not built yet; write 'never', or remove it")
    return word


def _read_run_key(node: Node) -> str:
    raise unsupported(node, "resuming a run by its key is not built yet; remove it")


def check_executor(spec: PartSpec) -> PartSpec:
    """Return the executor's name and options.

    Raises:
        UnsupportedError: another one than ``serial``, which no run uses yet, also where a plugin offers it.
    """
    if spec.name != "serial":
        where = spec.where or "run.executor"
        raise UnsupportedError(
            f"{where}: executor {spec.name!r} is not used yet, installed or not; write 'serial', or remove it"
        )
    return spec


def _read_executor(node: Node) -> PartSpec:
    return check_executor(part(node))


def _sizes(unit: Literal["rows", "batches"]) -> Reader[tuple[CalibrationSize, ...]]:
    return counts.then(lambda amounts: tuple(CalibrationSize(count, unit) for count in amounts))


def _write_sizes(unit: str) -> Callable[[tuple[CalibrationSize, ...]], list[int] | None]:
    return lambda sizes: [size.count for size in sizes] if sizes[0].unit == unit else None


def _write_tolerance(kind: str) -> Callable[[Criterion], float | None]:
    return lambda criterion: criterion.tolerance if criterion.kind == kind else None


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


def _verdict(config: Config) -> str:
    rows = f"the {config.holdout * 100:g} % of the rows held out" if config.holdout else "all rows"
    return f"with {config.confidence * 100:g} % confidence, on {rows}"


def _tensor(key: str, leaf: str, **about: Any) -> Option:
    """Return the option that limits a tensor of every op; ``leaf`` is such as ``weight.scheme``."""
    tensor, _, name = leaf.partition(".")
    older = () if name == "bits" else (f"quantization.model_wise.{leaf}",)
    about = {"default": "all that is offered", "page": "space", **about}
    return Option(key, TENSOR_READERS[tensor][name], (f"model_limits.{leaf}",), older=older, **about)


_MODEL = (
    Option(
        "framework.name",
        text,
        ("framework",),
        older=("model.framework",),
        help="an adapter's name, such as `pytorch`",
        default="chosen by the model",
        page="model",
        template="name: pytorch",
    ),
    Option("device", Reader(_read_device, {"enum": ["cpu"]}), ("device",), help="`cpu`", page="model"),
    Option(
        "calibration.samples",
        _sizes("rows"),
        ("calibrations",),
        _write_sizes("rows"),
        older=("quantization.calibration.sampling_size",),
        help="rows of calibration data: a whole number, a list, or a text such as `64, 256`; each is a candidate, one "
        "pass of the longest serves all",
        page="model",
        template='samples: 128  # [64, 256] or the text "64, 256": each is a candidate',
        sentences=lambda config: {"calibration": " or ".join(map(str, config.calibrations))},
        sentences_place=2,
    ),
    Option(
        "calibration.iterations",
        _sizes("batches"),
        ("calibrations",),
        _write_sizes("batches"),
        help="the same in batches; not beside `samples`",
        page="model",
    ),
    _tensor(
        "calibration.algorithm.weight",
        "weight.algorithm",
        help="`minmax`, `kl`, `percentile`, `mse`, or a list",
        default="`[minmax, mse]`",
        page="model",
        template="# algorithm:  # minmax, kl, percentile or mse\n#   weight: [minmax, mse]",
    ),
    _tensor(
        "calibration.algorithm.activation",
        "activation.algorithm",
        help="the same, for static ranges",
        default="`[minmax, percentile, mse, kl]`",
        page="model",
        template="#   activation: [minmax, percentile, mse, kl]",
    ),
)
_SPACE = (
    Option(
        "quantization.approach",
        # For the whole model auto says nothing; for an op it takes back what the model says.
        choice({**APPROACHES, "auto": ()}),
        ("model_limits.approach",),
        write_approach,
        help="`post_training_static_quant`, `post_training_dynamic_quant`, `auto`",
        default="`auto`: both, and weight-only where an op offers it",
        page="space",
        template="approach: auto  # post_training_static_quant, post_training_dynamic_quant or auto",
        sentences=lambda config: {"model": config.model_limits.sentence() or "all that adapter and CPU offer"},
        sentences_place=2,
    ),
    _tensor(
        "quantization.weight.granularity",
        "weight.granularity",
        help="`per_channel`, `per_tensor`, or a list",
        default="`per_channel`",
        template="# weight:\n#   granularity: per_channel  # or per_tensor",
    ),
    _tensor(
        "quantization.weight.scheme",
        "weight.scheme",
        help="`sym`, `asym`, or a list",
        template="#   scheme: sym  # or asym",
    ),
    _tensor(
        "quantization.weight.dtype",
        "weight.dtype",
        help="`int8`, `uint8`, `float32` (`fp32`), `bfloat16` (`bf16`), or a list",
        template="#   dtype: int8",
    ),
    _tensor(
        "quantization.activation.granularity",
        "activation.granularity",
        help="`per_tensor`, `per_token`, `per_channel`, or a list",
        template="# activation:\n#   granularity: per_tensor  # or per_token",
    ),
    _tensor(
        "quantization.activation.scheme",
        "activation.scheme",
        help="`asym`, `sym`, or a list",
        default="`[asym, sym]`",
        template="#   scheme: [asym, sym]",
    ),
    _tensor(
        "quantization.activation.dtype",
        "activation.dtype",
        help="`uint8`, `int8`, `float32` (`fp32`), `bfloat16` (`bf16`), or a list",
        template="#   dtype: uint8",
    ),
    _tensor(
        "quantization.bits.weight",
        "weight.bits",
        help="codes really used: 8, 7, or a list",
        default="the widest that the CPU runs safely",
        template="# bits: {weight: [8, 7], activation: [8, 7]}  # codes really used; the CPU decides which are safe",
    ),
    _tensor(
        "quantization.bits.activation",
        "activation.bits",
        help="the same",
        default="the widest that the CPU runs safely",
    ),
    Option(
        "quantization.transforms",
        transforms,
        ("transforms",),
        write_transforms,
        help="`smooth`, `bias_correction`, `per_token`, see below; or `none`, which forbids all three",
        default="all that is offered",
        page="space",
        template="# transforms: {smooth: [0.7, 0.9], bias_correction: true, per_token: true}  # or none",
        sentences=lambda config: {"transforms": config.transforms.sentence()},
        sentences_place=2,
    ),
)
_TUNING = (
    Option(
        "tuning.ops",
        ops,
        ("op_limits",),
        write_ops,
        older=("quantization.op_wise",),
        help="op name or glob -> `dtype` (`int8`, `bfloat16`, `float32`), `approach`, "
        "`weight.{dtype,scheme,granularity,algorithm,bits}`, `activation.{...}`",
        page="ops",
        template="# ops:  # an op's name or a glob; an exact name wins, then the last glob\n"
        '#   "*.classifier": {dtype: float32}',
        template_place=2,
        sentences=lambda config: {f"op {entry.pattern}": entry.sentence() for entry in config.op_limits},
        sentences_place=4,
    ),
    Option(
        "tuning.metric",
        metric,
        ("metric",),
        write_metric,
        older=("tuning.metrics", "evaluation.accuracy.metric"),
        help="a metric's bare name (`f1`), `name: value` (`topk: 1`), or name and options",
        default="none: then `tune` needs an `eval_func`",
        page="goal",
        template="# What accuracy means. Without a metric, give an eval_func to Tuner.tune.\n"
        "# metric: f1  # or with options, topk: 1",
        sentences=lambda config: {
            "metric": config.metric.sentence() if config.metric else "none named; Tuner.tune needs an eval_func"
        },
        sentences_place=1,
    ),
    Option(
        "tuning.accuracy_criterion.relative",
        share(0, 1, "0.01 or '1%'", below=True).then(partial(Criterion, "relative")),
        ("criterion",),
        _write_tolerance("relative"),
        help='the share of the float32 score that may be lost: `0.01` or `"1%"`',
        page="goal",
        template='accuracy_criterion:\n  relative: 0.01  # or "1%"; or absolute: 0.5, in the metric\'s own unit',
        sentences=lambda config: {"criterion": _criterion(config)},
        sentences_place=1,
    ),
    Option(
        "tuning.accuracy_criterion.absolute",
        real.then(partial(Criterion, "absolute")),
        ("criterion",),
        _write_tolerance("absolute"),
        help="the loss in the metric's own unit; not beside `relative`",
        page="goal",
    ),
    Option(
        "tuning.accuracy_criterion.higher_is_better",
        flag,
        ("higher_is_better", "criterion.higher_is_better"),
        help="`true`, `false`",
        default="the metric says; `true` for an `eval_func`",
        page="goal",
    ),
    Option(
        "tuning.strategy",
        part,
        ("strategy",),
        write_part,
        help="a name, or name and options: `{name: basic, model_wise_trials: 3}`",
        page="search",
        template="strategy: basic  # or with options, {name: basic, ...}; `ilit plugins` lists them",
        sentences=lambda config: {"strategy": config.strategy.sentence()},
        sentences_place=0,
    ),
    Option(
        "tuning.objective",
        part,
        ("objective",),
        write_part,
        help="which of those that meet the criterion is better: `performance` (time), `footprint` (memory), "
        "`modelsize` (bytes of weights)",
        page="goal",
        template="objective: performance  # performance, footprint or modelsize",
    ),
    Option(
        "tuning.timeout",
        real,
        ("timeout",),
        older=("tuning.exit_policy.timeout",),
        help="seconds; 0 sets no limit",
        page="search",
        template="timeout: 0  # seconds; 0 stops at the first recipe that meets the criterion",
    ),
    Option(
        "tuning.stop",
        choice({"met": "met", "budget": "budget"}),
        ("stop",),
        implied=lambda config: "budget" if config.timeout else "met",
        help="`met`: end at the first accepted recipe; `budget`: go on and keep the best",
        default="`met` without a timeout, `budget` with one",
        page="search",
        template="# stop: met  # or budget: go on to better ones until timeout or max_trials",
        template_place=1,
        sentences=lambda config: {"stop": _stop(config)},
        sentences_place=1,
    ),
    Option(
        "tuning.max_trials",
        whole(1),
        ("max_trials",),
        older=("tuning.exit_policy.max_trials",),
        help="evaluations of INT8 recipes at most",
        page="search",
        template="max_trials: 100",
    ),
    Option(
        "tuning.random_seed",
        whole(0, 2**32 - 1),
        ("random_seed",),
        help="0 to 4294967295",
        page="search",
        template="random_seed: 9527",
    ),
)
_RUN = (
    Option(
        "run.folder",
        text.then(Path),
        ("run_folder",),
        str,
        older=("snapshot.path",),
        help="where run folders are made",
        default="`./ilit_runs`",
        page="run",
        template="folder: ./ilit_runs",
    ),
    Option(
        "run.resume",
        Reader(_read_resume, {"enum": ["never"]}),
        help="`never`; `auto` and `require` are refused: not built yet",
        default="`never`",
        page="run",
    ),
    Option("run.key", Reader(_read_run_key, {"not": {}}), help="refused: not built yet", page="run"),
    Option(
        "run.threads",
        whole(1),
        ("threads",),
        help="threads the kernels may use; put back afterwards",
        default="as they are",
        page="run",
        template="# threads: 4",
    ),
    Option(
        "run.executor",
        Reader(_read_executor, {"enum": ["serial"]}),
        ("executor",),
        write_part,
        help="`serial`; any other is refused, installed or not: nothing uses it yet",
        page="run",
    ),
)
_EVALUATION = (
    Option(
        "evaluation.confidence",
        share(0.5, 1, "0.95 or '95%'", above=True, below=True),
        ("confidence",),
        help='of the bound on the drop, above 0.5 and below 1: `0.95` or `"95%"`',
        page="verdict",
        template="confidence: 0.95  # of the bound on the drop",
        sentences=lambda config: {"verdict": _verdict(config)},
    ),
    Option(
        "evaluation.holdout",
        share(0, 0.9, "0.2 or '20%'"),
        ("holdout",),
        help="share of the evaluation rows that the search never sees and the verdict is taken on, 0 to 0.9: `0.2` or "
        '`"20%"`',
        page="verdict",
        template="holdout: 0  # share of the evaluation rows that the search never sees",
    ),
)
_COMMENTS = {
    "calibration": "# How much calibration data the static ranges come from: samples (rows) or iterations (batches).",
    "quantization": "# What the search may use. What is left out is up to the search.",
    "evaluation": "# What is proven about the model that is chosen.",
}

OPTIONS = OptionTable(Config, (*_MODEL, *_SPACE, *_TUNING, *_RUN, *_EVALUATION), _COMMENTS)
