"""The adapter ``pytorch``: the contract of ``ilit.adapter`` on top of this package's rooms, a few lines each."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

import torch

from ilit.adapter import (
    Adapter,
    BlanksModel,
    ChecksSavable,
    Cpu,
    DescribesAll,
    FindsFirstDifference,
    KernelProfile,
    Measurement,
    ProfilesKernels,
    RegroupsRows,
    RunsOwnModel,
    SetsThreads,
    TimesOps,
)
from ilit.errors import ArtefactError, EvaluationError, IlitError, ModelError
from ilit.metric import Metric
from ilit.recipe import Recipe
from ilit.space import CalibrationSize, SearchSpace
from ilit_pytorch.artefact import files
from ilit_pytorch.calibration.calibrate import calibrate
from ilit_pytorch.calibration.result import TorchCalibration
from ilit_pytorch.describing.fidelity import check_savable, first_difference, own_outputs
from ilit_pytorch.describing.folding import with_folds
from ilit_pytorch.describing.layout import with_layout
from ilit_pytorch.describing.replaceable import reference_of, replaceable
from ilit_pytorch.describing.space import describe
from ilit_pytorch.engine import cpu, kernels
from ilit_pytorch.lowering.info import LoweringInfo, int8_kernels
from ilit_pytorch.lowering.lower import lower
from ilit_pytorch.lowering.session import LoweringCache, LoweringSession
from ilit_pytorch.measuring.forward_cost import forward_seconds, forward_seconds_and_bytes, model_bytes
from ilit_pytorch.measuring.kernel_profile import profile_kernels
from ilit_pytorch.measuring.op_speed import op_speedups
from ilit_pytorch.measuring.probe import distance, op_distances
from ilit_pytorch.model import batch as batches
from ilit_pytorch.model.blank import blank
from ilit_pytorch.model.clone import structural_clone, uncompiled
from ilit_pytorch.model.structure import Structure
from ilit_pytorch.tracing.trace import trace, trace_all


class PyTorchAdapter:
    """Eager PyTorch models on x86 CPUs."""

    name: ClassVar[str] = "pytorch"

    def __init__(self) -> None:
        """Check that the installed torch has the kernels this adapter calls."""
        kernels.check_schemas()
        self._structures: WeakKeyDictionary[torch.nn.Module, Structure] = WeakKeyDictionary()
        self._clones: WeakKeyDictionary[torch.nn.Module, torch.nn.Module] = WeakKeyDictionary()
        self._caches: WeakKeyDictionary[TorchCalibration, LoweringCache] = WeakKeyDictionary()
        self._sizes: WeakKeyDictionary[torch.nn.Module, tuple[int, int]] = WeakKeyDictionary()

    def cpu(self) -> Cpu:
        """Return the CPU as it is now."""
        return cpu.describe()

    def versions(self) -> Mapping[str, str]:
        """Return torch's version."""
        return {"torch": torch.__version__}

    def set_threads(self, threads: int) -> None:
        """Use that many threads from now on, in this whole process."""
        torch.set_num_threads(threads)

    def describe(self, model: Any, example: Any) -> SearchSpace:
        """See ``ilit_pytorch.describing.space``."""
        _check_model(model)
        return self._described(model, trace(uncompiled(model), example), example)

    def describe_all(self, model: Any, batches: Iterable[Any], sizes: Sequence[CalibrationSize]) -> SearchSpace:
        """See ``ilit_pytorch.describing.space``; as many batches are traced as it takes to reach every op."""
        _check_model(model)
        first: list[Any] = []

        def noted() -> Iterator[Any]:
            for batch in batches:
                first[:] = first or [batch]
                yield batch

        structure = trace_all(uncompiled(model), noted(), sizes)
        return self._described(model, structure, first[0])

    def _described(self, model: torch.nn.Module, structure: Structure, example: Any) -> SearchSpace:
        eager = uncompiled(model)
        reference = reference_of(eager, batches.model_input(example))
        structure = replaceable(structure, reference)
        for found_out in (with_folds, with_layout):
            structure = found_out(eager, structure, reference.inputs)
        self._structures[model] = structure
        return describe(eager, structure)

    def calibrate(self, model: Any, batches: Iterable[Any], space: SearchSpace) -> TorchCalibration:
        """See ``ilit_pytorch.calibration.calibrate``."""
        return calibrate(uncompiled(model), batches, space, self._structures.get(model))

    def lower(self, model: Any, recipe: Recipe, calibration: Any) -> torch.nn.Module:
        """See ``ilit_pytorch.lowering.lower``."""
        return lower(self._session(model, calibration), recipe)

    def _session(self, model: torch.nn.Module, calibration: TorchCalibration) -> LoweringSession:
        """Return the model with the calibration's cache, which lives as long as the calibration does."""
        eager = uncompiled(model)
        cache = self._caches.get(calibration)
        if cache is None:  # ``setdefault``, so that of two threads the second takes what the first has made
            cache = self._caches.setdefault(calibration, LoweringCache.for_model(eager))
        return LoweringSession(eager, calibration, cache)

    def int8_kernels(self, model: Any) -> int:
        """Return the number of INT8 kernels that one forward pass of a lowered model runs."""
        return int8_kernels(model)

    def probe(self, model: Any, recipes: Sequence[Recipe], calibration: Any) -> list[float]:
        """See ``ilit_pytorch.measuring.probe``."""
        session = self._session(model, calibration)
        return [distance(session, recipe) for recipe in recipes]

    def probe_ops(self, model: Any, recipe: Recipe, calibration: Any) -> Mapping[str, float]:
        """See ``ilit_pytorch.measuring.probe``."""
        return op_distances(self._session(model, calibration), recipe)

    def time_ops(self, model: Any, recipe: Recipe, calibration: Any) -> Mapping[str, float]:
        """See ``ilit_pytorch.measuring.op_speed``."""
        return op_speedups(self._session(model, calibration), recipe)

    def evaluate(
        self, model: Any, loader: Iterable[Any], metric: Metric, on_batch: Callable[[int], None] | None = None
    ) -> float:
        """Return the metric over the loader, on a clone of the model in eval mode."""
        runnable = _runnable(model)
        for number, batch in enumerate(batches.batches_of(loader, "evaluation"), start=1):
            inputs, labels = batches.model_input(batch), batches.labels_of(batch)
            batches.check_input(runnable, inputs)
            try:
                with torch.no_grad():
                    outputs = batches.predictions(batches.call(runnable, inputs))
                metric.update(outputs, labels)
            except IlitError:
                raise
            except Exception as error:
                raise EvaluationError(
                    f"evaluation, batch {number}: {type(error).__name__}: {_first_line(error)}; "
                    f"run the model and the metric '{metric.name}' on that batch"
                ) from error
            if on_batch is not None:
                on_batch(batches.rows_of(inputs))
        accuracy = float(metric.result())
        if not math.isfinite(accuracy):
            raise EvaluationError(f"metric '{metric.name}' gave {accuracy}; a finite number is needed")
        return accuracy

    def row_digests(self, batch: Any) -> list[str]:
        """Return one digest per row of the batch's input."""
        return batches.row_digests(batch)

    def row_shapes(self, batch: Any) -> list[Hashable]:
        """See ``ilit_pytorch.model.batch``."""
        return batches.row_shapes(batch)

    def regroup(self, given: Sequence[Any], groups: Sequence[Sequence[tuple[int, int]]]) -> list[Any]:
        """See ``ilit_pytorch.model.batch``."""
        return batches.regroup(given, groups)

    def zeroed(self, model: Any) -> torch.nn.Module:
        """Return a clone whose floating-point parameters are all zero; they take no memory."""
        clone = structural_clone(model)
        for module in clone.modules():
            for name, parameter in module._parameters.items():  # noqa: SLF001 - the model's own stay untouched
                if parameter is not None and parameter.is_floating_point():
                    zero = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
                    module._parameters[name] = torch.nn.Parameter(zero, requires_grad=False)  # noqa: SLF001 - as above
        return clone

    def own_outputs(self, model: Any, batch: Any) -> Any:
        """See ``ilit_pytorch.describing.fidelity``."""
        return own_outputs(model, batch)

    def first_difference(self, model: Any, other: Any, batch: Any) -> str:
        """See ``ilit_pytorch.describing.fidelity``."""
        return first_difference(model, other, batch)

    def check_savable(self, model: Any, float_model: Any, batch: Any, answers: Any) -> None:
        """See ``ilit_pytorch.describing.fidelity``."""
        check_savable(model, float_model, batch, answers)

    def blank(self, model: Any) -> torch.nn.Module:
        """See ``ilit_pytorch.model.blank``."""
        return blank(model)

    def measure(self, model: Any, batch: Any) -> Measurement:
        """Run the model once on one batch and return what that cost."""
        inputs = batches.model_input(batch)
        # A value that held its own key would keep the model alive for ever.
        known = self._clones.get(model)
        runnable = _runnable(model) if known is None else known
        if model in self._sizes:
            return Measurement(forward_seconds(runnable, inputs), *self._sizes[model])
        if runnable is not model:
            self._clones[model] = runnable
        seconds, activations = forward_seconds_and_bytes(runnable, inputs)
        self._sizes[model] = (model_bytes(runnable), activations)
        return Measurement(seconds, *self._sizes[model])

    def profile_kernels(self, model: Any, batch: Any) -> KernelProfile:
        """See ``ilit_pytorch.measuring.kernel_profile``."""
        return profile_kernels(_runnable(model), batches.model_input(batch))

    def outputs(self, model: Any, batch: Any) -> Any:
        """Return the model's predictions on one batch as numpy arrays."""
        with torch.no_grad():
            return batches.predictions(batches.call(_runnable(model), batches.model_input(batch)))

    def save(self, model: Any, folder: Path) -> None:
        """See ``ilit_pytorch.artefact.files``."""
        files.save(model, folder)

    def load(self, folder: Path, model: Any = None) -> torch.nn.Module:
        """Read a tuned model; without ``model`` an installed plugin builds the architecture from ``config.json``."""
        folder = Path(folder)
        return files.load(folder, model if model is not None else _build(folder))


if TYPE_CHECKING:

    class _Contract(
        Adapter,
        SetsThreads,
        RegroupsRows,
        TimesOps,
        DescribesAll,
        RunsOwnModel,
        FindsFirstDifference,
        ChecksSavable,
        BlanksModel,
        ProfilesKernels,
        Protocol,
    ):
        """What mypy holds the adapter to: every ability but ``DigestsModel``."""

    _: type[_Contract] = PyTorchAdapter


def _check_model(model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"the pytorch adapter takes a torch.nn.Module, not a {type(model).__name__}")


def _runnable(model: torch.nn.Module) -> torch.nn.Module:
    """A lowered model in eval mode is ours and runs as it is; any other is run as a clone."""
    if isinstance(getattr(model, "ilit", None), LoweringInfo) and not model.training:
        return model
    return structural_clone(model)


def _build(folder: Path) -> torch.nn.Module:
    from ilit.plugins import installed_plugins

    files.read_recipe(folder)  # first, since a config that was damaged builds another architecture
    config = files.read_config(folder)
    built = installed_plugins().hook.ilit_pytorch_build(config=config)
    if not isinstance(built, torch.nn.Module):
        name = (config.get("architectures") or ["the model"])[0]
        raise ArtefactError(
            f"{folder}: no installed plugin builds {name}; give the architecture: ilit.load(folder, model=...)"
        )
    return built


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
