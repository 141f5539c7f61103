"""What a framework adapter is: the only part that knows what a model is.

The laws, proven for any adapter by ``ilit.testing.AdapterContract``:

* an all-float recipe gives a model that is bit-equal to the given one;
* the given model's parameters, buffers, mode, hooks and config are as before after every call;
* lowering is deterministic: the same arguments give bit-equal outputs;
* returned models share no mutable state with a cache or with each other, and can be deep-copied and pickled;
* ``save`` followed by ``load`` is bit-equal;
* bytes are counted from shapes and dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from ilit.metric import Metric
from ilit.recipe import Recipe
from ilit.space import CalibrationSize, SearchSpace

__all__ = [
    "ABILITIES",
    "Adapter",
    "BlanksModel",
    "Calibration",
    "ChecksSavable",
    "Cpu",
    "DescribesAll",
    "DigestsModel",
    "FindsFirstDifference",
    "KernelCalls",
    "KernelProfile",
    "Measurement",
    "ProfilesKernels",
    "RegroupsRows",
    "RunsOwnModel",
    "SetsThreads",
    "TimesOps",
]


@dataclass(frozen=True)
class Measurement:
    """Cost of one forward pass.

    Attributes:
        seconds: wall time of the pass.
        bytes: size of the model's parameters, buffers and packed weights, from shapes and dtypes.
        activation_bytes: the largest sum of one leaf operation's inputs and outputs, from shapes and dtypes.
    """

    seconds: float
    bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class Cpu:
    """The CPU the run is on.

    Attributes:
        model: the vendor's name of it.
        isa: the widest instruction set the INT8 kernels may use, such as ``avx512_vnni`` or ``avx2``.
        int8_class: ``V`` where u8 x s8 products are summed exactly, ``A`` where 16-bit intermediates saturate.
        threads: threads the kernels use.
    """

    model: str
    isa: str
    int8_class: str
    threads: int


@dataclass(frozen=True)
class KernelCalls:
    """The calls of one kernel for the same ops in one forward pass.

    Attributes:
        kernel: its name in the framework, such as ``onednn::qlinear_pointwise``.
        ops: paths of the ops whose INT8 weights it read; empty where that is not known, or it read none.
        calls: how many there were.
        seconds: wall time of all of them.
        bytes: read and written by all of them, from shapes and dtypes.
    """

    kernel: str
    ops: tuple[str, ...]
    calls: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class KernelProfile:
    """The kernels that one forward pass of a lowered model really ran.

    Attributes:
        int8: those that computed with INT8 weights, in running order.
        others: all others, the slowest first.
        ops_without: paths of INT8 ops that no INT8 kernel ran for.
    """

    int8: tuple[KernelCalls, ...]
    others: tuple[KernelCalls, ...]
    ops_without: tuple[str, ...] = ()

    @property
    def int8_calls(self) -> int:
        """The number of INT8 kernels run."""
        return sum(row.calls for row in self.int8)

    @property
    def seconds(self) -> float:
        """The time spent in all kernels."""
        return sum(row.seconds for row in (*self.int8, *self.others))

    @property
    def int8_share(self) -> float:
        """The share of that time in INT8 kernels; 0 where nothing ran."""
        return sum(row.seconds for row in self.int8) / self.seconds if self.seconds else 0.0


class Calibration(Protocol):
    """Statistics of one pass over calibration data, good for every recipe of the space; opaque to the core."""

    @property
    def digest(self) -> str:
        """SHA-256 of the statistics, 64 hex digits."""

    @property
    def rows(self) -> int:
        """Rows the pass really saw."""

    @property
    def row_digests(self) -> frozenset[str]:
        """A digest of each row's input, to find rows that are also evaluated on."""

    def save(self, file: Path) -> None:
        """Write the statistics to ``file`` (``.safetensors``), never as pickle."""


@runtime_checkable
class Adapter(Protocol):
    """A framework. Plugins register classes with this shape, constructed without arguments, through ``ilit_adapters``.

    A batch is what a loader yields, ``(input, label)``: a mapping goes in as ``model(**input)``, a tuple or list as
    ``model(*input)``, else ``model(input)``. Only ``iter()`` is ever called on a loader.

    What an adapter need not be able to do, each a protocol of this module and used where ``isinstance`` finds it:
    ``SetsThreads``, ``DigestsModel``, ``RegroupsRows``, ``TimesOps``, ``DescribesAll``, ``RunsOwnModel``,
    ``FindsFirstDifference``, ``ChecksSavable``, ``BlanksModel``, ``ProfilesKernels``. Their methods are defined in
    the class, since what ``__getattr__`` hands on is not always found, and are called with arguments by position. A
    class that has only some methods of an ability, or one that cannot take the call, is refused when its plugin is
    asked for adapters; a subclass gives an inherited ability up by setting its methods to None.
    """

    name: ClassVar[str]

    def cpu(self) -> Cpu:
        """Return the CPU as it is now, environment and thread settings included."""

    def versions(self) -> Mapping[str, str]:
        """Return the versions that decide a run's figures, such as ``{"torch": "2.13.0"}``."""

    def describe(self, model: Any, example: Any) -> SearchSpace:
        """Return the ops and every ``OpConfig`` that model and CPU allow, widest safe codes first, no calibrations.

        ``example`` is one batch. One forward pass is run on it. Modules of a kind that can be quantized and that have
        to stay in float are named with the reason in ``SearchSpace.left_in_float``.

        Raises:
            ilit.errors.ModelError: nothing in the model can be quantized, or the model is not one of this framework's.
            ilit.errors.DataError: the model does not accept the batch; names the missing or extra inputs.
        """

    def calibrate(self, model: Any, batches: Iterable[Any], space: SearchSpace) -> Calibration:
        """Run the model once over as many batches as the longest of ``space.calibrations`` takes.

        Raises:
            ilit.errors.DataError: the loader yields nothing or too little.
        """

    def lower(self, model: Any, recipe: Recipe, calibration: Calibration) -> Any:
        """Return an INT8 model in eval mode; the given one is never touched.

        Raises:
            ilit.errors.LoweringError: the engine rejects the recipe.
        """

    def int8_kernels(self, model: Any) -> int:
        """Return the number of INT8 kernels that one forward pass of a lowered model runs."""

    def probe(self, model: Any, recipes: Sequence[Recipe], calibration: Calibration) -> list[float]:
        """Return each recipe's ``DistanceOutcome.distance``, measured on saved calibration batches."""

    def probe_ops(self, model: Any, recipe: Recipe, calibration: Calibration) -> Mapping[str, float]:
        """Return each INT8 op's own relative output error when it is fed its float32 input, as seen in calibration.

        Ops that are float in the recipe are left out. Costs the named ops alone, not a pass of the model.
        """

    def evaluate(
        self, model: Any, loader: Iterable[Any], metric: Metric, on_batch: Callable[[int], None] | None = None
    ) -> float:
        """Return ``metric`` over the loader.

        ``on_batch`` is told the rows of each batch once the metric has it; what it raises ends the evaluation and
        comes through as it is.

        Raises:
            ilit.errors.DataError: the loader yields nothing, or the model does not accept a batch.
            ilit.errors.EvaluationError: the metric gives no finite number.
        """

    def row_digests(self, batch: Any) -> list[str]:
        """Return one digest per row of the batch's input, padding left out where the input says what is padding."""

    def zeroed(self, model: Any) -> Any:
        """Return a copy whose floating-point parameters are all zero, to see whether a metric notices."""

    def measure(self, model: Any, batch: Any) -> Measurement:
        """Run the model once on one batch and return what that cost; the caller interleaves and takes medians."""

    def outputs(self, model: Any, batch: Any) -> Any:
        """Return the model's outputs on one batch as numpy arrays, in the structure ``Metric.update`` is given."""

    def save(self, model: Any, folder: Path) -> None:
        """Write a lowered model as ``config.json``, ``model.safetensors`` and ``recipe.json``, never as pickle.

        Raises:
            ilit.errors.ArtefactError: the model cannot be written.
        """

    def load(self, folder: Path, model: Any = None) -> Any:
        """Read what ``save`` wrote. ``model`` gives the architecture where no installed plugin can build it.

        Raises:
            ilit.errors.ArtefactError: files are missing, damaged, or of a version this adapter cannot read.
        """


# --- Abilities: what an adapter may do beside that -------------------------------------------------------------------


@runtime_checkable
class SetsThreads(Protocol):
    """An adapter that ``run.threads`` can be used with; the key is refused without it."""

    def set_threads(self, count: int, /) -> None:
        """Use ``count`` threads from now on; ``Adapter.cpu`` tells them."""


@runtime_checkable
class DigestsModel(Protocol):
    """An adapter that tells models apart, for the journal's header."""

    def model_digest(self, model: Any, /) -> str:
        """Return the SHA-256 of the model's values, 64 hex digits."""


@runtime_checkable
class RegroupsRows(Protocol):
    """An adapter that can put rows into other batches, so that misses show early and rows can be held out."""

    def regroup(self, batches: Sequence[Any], groups: Sequence[Sequence[tuple[int, int]]], /) -> Sequence[Any]:
        """Return a new batch for each group, of rows of the given batches.

        A row is named by its batch's index and its own, and its values stay the same bit by bit, padding included.

        Raises:
            ilit.errors.DataError: rows cannot be told apart, or rows of one group do not fit together.
        """

    def row_shapes(self, batch: Any, /) -> Sequence[Hashable]:
        """Return a shape for each row; rows with equal shapes may share a batch in ``regroup``.

        Raises:
            ilit.errors.DataError: rows cannot be told apart.
        """


@runtime_checkable
class TimesOps(Protocol):
    """An adapter that can time single ops, so that a search knows which of them INT8 makes quicker."""

    def time_ops(self, model: Any, recipe: Recipe, calibration: Calibration, /) -> Mapping[str, float]:
        """Return each INT8 op's seconds in float32 divided by its seconds in INT8.

        One timing per distinct op shape, at the sizes seen in calibration.
        """


@runtime_checkable
class DescribesAll(Protocol):
    """An adapter that can describe models which reach other modules on other data."""

    def describe_all(self, model: Any, batches: Iterable[Any], sizes: Sequence[CalibrationSize], /) -> SearchSpace:
        """Return the space as ``Adapter.describe`` does, which is then not called.

        Looks on over calibration batches, as many as the longest of ``sizes`` takes, until every module that can be
        quantized was reached. A module that no batch reaches costs a second pass over the calibration data.

        Raises:
            ilit.errors.ModelError: as ``Adapter.describe``.
            ilit.errors.DataError: as ``Adapter.describe``.
        """


@runtime_checkable
class RunsOwnModel(Protocol):
    """An adapter that can run the user's model itself, to see before the search whether a copy is the same function."""

    def own_outputs(self, model: Any, batch: Any, /) -> Any:
        """Return the outputs, as ``Adapter.outputs``, of the model object as it stands, in eval mode, not of a copy.

        Everything is put back afterwards.
        """


@runtime_checkable
class FindsFirstDifference(Protocol):
    """An adapter that can say where two models part, for an error message."""

    def first_difference(self, model: Any, other: Any, batch: Any, /) -> str:
        """Return the path of the first module in running order whose output differs; empty where it is not known."""


@runtime_checkable
class ChecksSavable(Protocol):
    """An adapter that knows before the search what ``Adapter.save`` could not write."""

    def check_savable(self, model: Any, float_model: Any, batch: Any, answers: Any, /) -> None:
        """Refuse a model of which an artefact could not hold everything. Called once, before the search.

        ``float_model`` is the lowered all-float recipe, ``answers`` its ``Adapter.outputs`` on the batch.

        Raises:
            ilit.errors.ModelError: in one line, with what an artefact could not hold.
        """


@runtime_checkable
class BlanksModel(Protocol):
    """An adapter that can give ``Adapter.load`` an architecture with no value of the model's, to prove the files."""

    def blank(self, model: Any, /) -> Any:
        """Return a copy with every tensor overwritten."""


@runtime_checkable
class ProfilesKernels(Protocol):
    """An adapter that can tell which kernels a lowered model really runs, for the receipt beside a saved model."""

    def profile_kernels(self, model: Any, batch: Any, /) -> KernelProfile:
        """Return the kernels of one forward pass of a lowered model, the model being warm."""


ABILITIES: tuple[type, ...] = (
    SetsThreads,
    DigestsModel,
    RegroupsRows,
    TimesOps,
    DescribesAll,
    RunsOwnModel,
    FindsFirstDifference,
    ChecksSavable,
    BlanksModel,
    ProfilesKernels,
)
