"""Intel Neural Compressor 2.6, strategy ``basic``, static; runs in its own environment, prints one line of JSON."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import race


class Loader:
    """Calibration batches as Neural Compressor wants them: iterable, with ``batch_size``."""

    def __init__(self, batches: list[tuple[Any, Any]], batch_size: int) -> None:
        self._batches = batches
        self.batch_size = batch_size

    def __iter__(self) -> Any:
        return iter(self._batches)


def pretend_avx2() -> None:
    """Tell Neural Compressor of a CPU without VNNI and bfloat16, as ``--avx2`` emulates it.

    It asks CPUID, which no environment variable changes, and decides by it on reduced range (as soon as it is
    imported, hence the second line) and on bfloat16 in place of float32.
    """
    import neural_compressor.adaptor.pytorch
    from neural_compressor.utils.utility import CpuInfo

    seen = CpuInfo()  # one object in a process, without public setters
    seen._vnni = seen._bf16 = False  # noqa: SLF001
    neural_compressor.adaptor.pytorch.REDUCE_RANGE = True


def tensors(file: Path, split: str) -> list[tuple[Any, Any]]:
    """Return a split's batches as tensors."""
    import torch

    return [
        ({name: torch.from_numpy(value) for name, value in inputs.items()}, torch.from_numpy(labels))
        for inputs, labels in race.read_rows(file, split)
    ]


def config_of(task: race.Task) -> Any:
    """Return what a user would write for the task; ``quant_level=1`` is what makes it use the strategy named."""
    from neural_compressor import PostTrainingQuantConfig
    from neural_compressor.config import AccuracyCriterion, TuningCriterion

    return PostTrainingQuantConfig(
        approach="static",
        quant_level=1,
        calibration_sampling_size=[task.calibration],
        tuning_criterion=TuningCriterion(strategy="basic", timeout=0, max_trials=100),
        accuracy_criterion=AccuracyCriterion(higher_is_better=True, criterion="relative", tolerable_loss=task.relative),
    )


def linears_of(model: Any) -> dict[str, str]:
    """Return each Linear of a tuned model and the dtype it runs in."""
    import torch

    found = {}
    for path, module in model.named_modules():
        name = ".".join(part for part in path.split(".") if part != "module")  # what tracing wraps a module in
        if isinstance(module, torch.ao.nn.quantized.Linear):
            found[name] = "int8"
        elif isinstance(module, torch.nn.Linear):
            found[name] = str(module.weight.dtype).removeprefix("torch.")
    return found


def main() -> None:
    task = race.task_of(race.parser(__doc__.split(";")[0]).parse_args())
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(task.threads)
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pretend_avx2()
    import neural_compressor.adaptor.pytorch
    from neural_compressor import quantization

    batches, calibration = tensors(task.rows, "evaluation"), tensors(task.rows, "calibration")
    model = AutoModelForSequenceClassification.from_pretrained(task.checkpoint, dtype=torch.float32).eval()
    seen = race.Evaluations(task.pairs)

    def classifier(module: Any) -> Any:
        def classify(inputs: Any) -> Any:
            with torch.no_grad():
                return module(**inputs).logits

        return classify

    def evaluate(module: Any) -> float:
        start = time.perf_counter()
        found = race.score(classifier(module), batches)
        seen.count(task.pairs, time.perf_counter() - start)
        return found

    config = config_of(task)
    start = time.perf_counter()
    tuned = quantization.fit(model, config, calib_dataloader=Loader(calibration, task.batch_size), eval_func=evaluate)
    seconds = time.perf_counter() - start
    int8 = classifier(tuned.model) if tuned is not None else None
    judged = race.judge(classifier(model), int8, batches, task.passes)
    linears = linears_of(tuned.model if tuned is not None else model)
    race.Outcome(
        tool="neural_compressor",
        seconds=seconds,
        evaluations=seen.full,
        evaluated_rows=seen.rows,
        evaluation_seconds=seen.seconds,
        float32=judged.float32,
        score=judged.int8,
        passed=race.within(judged.int8, judged.float32, task.relative),
        linears=len(linears),
        linears_float={name: dtype for name, dtype in linears.items() if dtype != "int8"},
        float32_seconds=judged.float32_seconds,
        int8_seconds=judged.int8_seconds,
        rows=race.digest(batches, calibration),
        versions=race.versions_of("neural-compressor", "torch", "transformers"),
        cpu=race.cpu_of(task.threads),
        details={
            "engine": torch.backends.quantized.engine,
            "reduce_range": neural_compressor.adaptor.pytorch.REDUCE_RANGE,
        },
    ).print()


if __name__ == "__main__":
    main()
