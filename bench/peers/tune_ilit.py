"""ilit on the task, as a user would call it; runs in ilit's environment and prints one line of JSON."""

from __future__ import annotations

import tempfile
import time
from typing import Any

import race


def load(task: race.Task) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the float model, its loaders by split, and what ``tuning.metric`` is to be."""
    from ilit_bert.checkpoints.loading import load_float
    from ilit_bert.data.loaders import calibration_loader, evaluation_loader
    from ilit_bert.metrics.table import tuning_metric
    from ilit_bert.tasks.table import find_task

    mrpc = find_task("MRPC")
    model, tokenizer = load_float(str(task.checkpoint), mrpc.kind)
    given = {"data_dir": task.data, "model": model, "tokenizer": tokenizer, "batch_size": task.batch_size}
    loaders = {
        "evaluation": evaluation_loader(mrpc, samples=task.pairs, **given),
        "calibration": calibration_loader(mrpc, rows=task.calibration, **given),
    }
    metric = tuning_metric(mrpc, model, tokenizer, data_dir=task.data, source=task.checkpoint, metric="f1")
    if metric["glue"]["positive"] != 1:
        raise SystemExit(f"{task.checkpoint}: its 'equivalent' is class {metric['glue']['positive']}, not 1")
    return model, loaders, metric


def config_of(task: race.Task, metric: dict[str, Any], approach: str, runs: str) -> dict[str, Any]:
    """Return ilit's configuration: defaults, but for the task's own terms."""
    tuning = {"metric": metric, "accuracy_criterion": {"relative": task.relative}}
    config: dict[str, Any] = {"tuning": tuning, "run": {"folder": runs, "threads": task.threads}}
    config["calibration"] = {"samples": task.calibration}
    if approach == "static":
        config["quantization"] = {"approach": "post_training_static_quant"}
    return config


def main() -> None:
    parser = race.parser(__doc__.split(";")[0])
    parser.add_argument("--approach", choices=("static", "auto"), default="static")
    arguments = parser.parse_args()
    task = race.task_of(arguments)
    import torch

    import ilit
    from ilit.plugins import installed_plugins

    torch.set_num_threads(task.threads)
    installed_plugins()  # imports the installed plugins
    model, loaders, metric = load(task)
    with tempfile.TemporaryDirectory() as runs:
        tuner = ilit.Tuner(config_of(task, metric, arguments.approach, runs))
        start = time.perf_counter()
        tuned = tuner.tune(model, loaders["calibration"], eval_dataloader=loaders["evaluation"], on_miss="closest")
        seconds = time.perf_counter() - start
    result, record = tuner.result, tuner.result.closest
    batches = list(loaders["evaluation"])

    def classifier(module: Any) -> Any:
        @torch.inference_mode()
        def classify(inputs: Any) -> Any:
            return module(**inputs).logits

        return classify

    judged = race.judge(classifier(model), classifier(tuned) if tuned is not None else None, batches, task.passes)
    linears = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    dtypes = {name: config.dtype for name, config in record.recipe.ops.items()} if record else {}
    race.Outcome(
        tool="ilit",
        seconds=seconds,
        evaluations=result.evaluations,
        evaluated_rows=task.pairs * result.evaluations + sum(t.rows for t in result.trials if t.accuracy is None),
        evaluation_seconds=None,
        float32=judged.float32,
        score=judged.int8,
        passed=result.met and race.within(judged.int8, judged.float32, task.relative),
        linears=len(linears),
        linears_float={name: dtypes.get(name, "float32") for name in linears if dtypes.get(name) != "int8"},
        float32_seconds=judged.float32_seconds,
        int8_seconds=judged.int8_seconds,
        rows=race.digest(batches, loaders["calibration"]),
        versions=race.versions_of("ilit-core", "torch", "transformers"),
        cpu={**race.cpu_of(task.threads), "ilit": f"{result.cpu.isa}, class {result.cpu.int8_class}"},
        details={"probes": result.probes, "reason": result.reason, "trials": [_trial(t) for t in result.trials]},
    ).print()


def _trial(trial: Any) -> dict[str, Any]:
    return {"status": trial.status, "accuracy": trial.accuracy, "rows": trial.rows, "why": trial.why}


if __name__ == "__main__":
    main()
