"""How a model hangs together: its ops, who shares an input, and the islands between torch's stubs. Frozen values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

ESCAPING_IN_JSON = "leaky"
"""The name of ``Structure.escaping_stubs`` in saved statistics and their digest."""
_OF_CONVOLUTIONS = ("folds", "channels_last")


@dataclass(frozen=True)
class OpSite:
    """Where an op stands.

    Attributes:
        kind: ``linear``, ``conv1d``, ``conv2d``, ``conv3d`` or ``embedding``.
        relu: the module is torch's fused form with ReLU.
        source: path of the ilit ``QuantStub`` whose output is its input, empty where it quantizes for itself.
        island: number of the island between torch's stubs that it lies in, -1 outside.
        computed: its weight is computed before or in each forward, from other parameters.
        computing: which of the op's forward pre-hooks do so, in the order they run.
    """

    kind: str
    relu: bool = False
    source: str = ""
    island: int = -1
    computed: bool = False
    computing: tuple[int, ...] = ()

    @property
    def channel_axis(self) -> int | None:
        """Axis of the input's channels, counted from the end; None where they are of no use."""
        if self.island >= 0 or self.kind == "embedding":
            return None
        return -1 if self.kind == "linear" else -1 - int(self.kind[len("conv")])


@dataclass(frozen=True)
class Island:
    """What lies between torch's ``QuantStub``s and ``DeQuantStub``s and is joined by data, by module path."""

    stubs: tuple[str, ...]
    ops: tuple[str, ...]
    others: tuple[str, ...]
    functionals: tuple[str, ...]


@dataclass(frozen=True)
class Fold:
    """What a convolution outside islands does along with its sums where it runs in INT8.

    Attributes:
        norm: path of the BatchNorm that alone reads the convolution's output.
        relu: path of the ReLU that alone reads the BatchNorm's, empty where there is none.
    """

    norm: str
    relu: str = ""


@dataclass(frozen=True)
class Structure:
    """What a trace showed.

    Attributes:
        sites: op path -> where it stands, in the order of first use.
        shared: path of an ilit ``QuantStub`` -> paths of the ops that read it, where it is read by ops only.
        escaping_stubs: paths of ilit ``QuantStub``s whose output also reaches something that cannot read codes.
        islands: the islands, ``OpSite.island`` counts them.
        dequant_stubs: paths of torch's ``DeQuantStub``s.
        left: paths of modules of a quantizable kind that stay in float -> why.
        folds: path of a convolution -> what is folded into it.
        channels_last: convolutions of two and three axes may answer in that memory format, whatever they are given.
    """

    sites: dict[str, OpSite]
    shared: dict[str, tuple[str, ...]] = field(default_factory=dict)
    escaping_stubs: tuple[str, ...] = ()
    islands: tuple[Island, ...] = ()
    dequant_stubs: tuple[str, ...] = ()
    left: dict[str, str] = field(default_factory=dict)
    folds: dict[str, Fold] = field(default_factory=dict)
    channels_last: bool = False

    def input_of(self, name: str) -> str:
        """Return the name that calibration gives the activation op ``name`` reads."""
        source = self.sites[name].source
        return f"{source}:out" if source else f"{name}:in"

    def readers_of(self, name: str) -> tuple[str, ...]:
        """Return the ops that read what op ``name`` reads, itself included."""
        source = self.sites[name].source
        return self.shared[source] if source else (name,)

    def island_outputs(self) -> dict[str, str]:
        """Return each module in an island and the path of the module whose output is its output."""
        own = (name for island in self.islands for name in (*island.ops, *island.stubs, *island.others))
        functionals = (name for island in self.islands for name in island.functionals)
        return {**{name: name for name in own}, **{name: f"{name}.activation_post_process" for name in functionals}}

    def to_json(self) -> dict[str, Any]:
        """Return the structure as a JSON object, under the names that saved statistics have had from the first.

        What concerns convolutions alone is in it only where there is some, so that other models' digests stay.
        """
        fields = {name: value for name, value in asdict(self).items() if name not in _OF_CONVOLUTIONS or value}
        return {ESCAPING_IN_JSON if name == "escaping_stubs" else name: value for name, value in fields.items()}
