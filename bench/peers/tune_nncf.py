"""NNCF's ``quantize_with_accuracy_control`` on OpenVINO; runs in its own environment, prints one line of JSON."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable
from typing import Any

import race


def convert(task: race.Task, example: dict[str, Any]) -> Any:
    """Return the checkpoint as an OpenVINO model with free batch size and length."""
    import openvino
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(task.checkpoint, dtype=torch.float32).eval()
    return openvino.convert_model(model, example_input={name: torch.from_numpy(v) for name, v in example.items()})


def facts(compiled: Any) -> tuple[dict[str, str], dict[str, int]]:
    """Return each Linear's dtype at run time, and how many of OpenVINO's matrix kernels are of which type."""
    dtypes: dict[str, str] = {}
    kernels: collections.Counter[str] = collections.Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        about = {key: node.get_rt_info()[key].astype(str) for key in ("layerType", "runtimePrecision", "primitiveType")}
        if about["layerType"] in ("FullyConnected", "MatMul"):
            kernels[f"{about['layerType']} {about['primitiveType']}"] += 1
        if about["layerType"] == "FullyConnected":
            codes = about["runtimePrecision"] in ("i8", "u8")
            dtypes[node.get_friendly_name()] = "int8" if codes else about["runtimePrecision"]
    return dtypes, dict(kernels)


class Validation:
    """NNCF's validation function: F1 of a compiled model, counted.

    Beside the score it returns None, and NNCF then runs both models once more, batch by batch, for a score of each; or
    the outputs of each batch, and NNCF is content with those.
    """

    def __init__(self, seen: race.Evaluations, outputs: bool) -> None:
        self.seen = seen
        self.threads: set[int] = set()
        self._outputs = outputs

    def __call__(self, compiled: Any, items: Iterable[tuple[Any, Any]]) -> tuple[float, Any]:
        """Evaluate the items, all of them or one batch."""
        start = time.perf_counter()
        logits, labels = [], []
        for inputs, truth in items:
            logits.append(compiled(inputs)[0].copy())  # (rows, 2)
            labels.append(truth)
        found = race.f1([batch.argmax(axis=-1) for batch in logits], labels)
        self.seen.count(sum(map(len, labels)), time.perf_counter() - start)
        self.threads.add(compiled.get_property("INFERENCE_NUM_THREADS"))
        return found, [[batch] for batch in logits] if self._outputs else None


def main() -> None:
    parser = race.parser(__doc__.split(";")[0])
    parser.add_argument(
        "--values", choices=("metric", "outputs"), default="metric",
        help="what the validation function returns beside the score: nothing, or the outputs of each batch",
    )  # fmt: skip
    arguments = parser.parse_args()
    task = race.task_of(arguments)
    import nncf
    import openvino
    import torch

    torch.set_num_threads(task.threads)
    batches, calibration = race.read_rows(task.rows, "evaluation"), race.read_rows(task.rows, "calibration")
    model = convert(task, batches[0][0])
    validate = Validation(race.Evaluations(task.pairs), outputs=arguments.values == "outputs")
    start = time.perf_counter()
    tuned = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(calibration, lambda item: item[0]),
        nncf.Dataset(batches, lambda item: item[0]),
        validation_fn=validate,
        max_drop=task.relative,
        drop_type=nncf.DropType.RELATIVE,
        model_type=nncf.ModelType.TRANSFORMER,
    )
    seconds = time.perf_counter() - start
    # NNCF validates with float32 for what is not INT8, also where OpenVINO would take bfloat16 by itself.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": task.threads}
    float32, int8 = (openvino.compile_model(which, "CPU", options) for which in (model, tuned))
    judged = race.judge(lambda inputs: float32(inputs)[0], lambda inputs: int8(inputs)[0], batches, task.passes)
    linears, kernels = facts(int8)
    race.Outcome(
        tool="nncf" if arguments.values == "metric" else "nncf_outputs",
        seconds=seconds,
        evaluations=validate.seen.full,
        evaluated_rows=validate.seen.rows,
        evaluation_seconds=validate.seen.seconds,
        float32=judged.float32,
        score=judged.int8,
        passed=race.within(judged.int8, judged.float32, task.relative),
        linears=len(linears),
        linears_float={name: dtype for name, dtype in linears.items() if dtype != "int8"},
        float32_seconds=judged.float32_seconds,
        int8_seconds=judged.int8_seconds,
        rows=race.digest(batches, calibration),
        versions=race.versions_of("openvino", "nncf", "torch"),
        cpu=race.cpu_of(task.threads),
        details={
            "kernels": kernels,
            "float32_kernels": facts(float32)[1],
            "threads_of_validation": sorted(validate.threads),
        },
    ).print()


if __name__ == "__main__":
    main()
