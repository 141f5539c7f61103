"""The state of a trace: what forward passes have shown of a model so far, and the structure that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ilit_pytorch.model.computed_weights import Watch
from ilit_pytorch.model.structure import OpSite, Structure
from ilit_pytorch.tracing.islands import JoinedStubs, Marks, find_islands


@dataclass
class TraceState:
    """What the passes have shown so far.

    Attributes:
        kinds: op path -> its kind and whether ReLU is fused, in the order of first use.
        marks: op path -> the marks of its input, one entry per call.
        others: path of a module that is no op -> marks of what it is given.
        functionals: path of a ``FloatFunctional`` -> the same.
        stubs: torch's ``QuantStub``s.
        shared: ilit's ``QuantStub``s.
        escaping_stubs: those of them whose output reaches something that cannot read codes.
        joined: which of torch's stubs are one island.
        dequant_stubs: torch's ``DeQuantStub``s.
        ops: ops that a forward could call.
        hooked: ops on which hooks stand.
        never: ops that no forward calls, since torch's own code reads their weight.
        watches: op path -> what computed its weight.
        padded: convolutions whose input is padded before the kernel's call, which torch's quantized modules do not do.
        left: modules of a quantizable kind that stay in float -> why.
        reading: number of ops whose forward is running; what they do with an activation is theirs.
    """

    kinds: dict[str, tuple[str, bool]] = field(default_factory=dict)
    marks: dict[str, list[Marks]] = field(default_factory=dict)
    others: dict[str, Marks] = field(default_factory=dict)
    functionals: dict[str, Marks] = field(default_factory=dict)
    stubs: list[str] = field(default_factory=list)
    shared: set[str] = field(default_factory=set)
    escaping_stubs: set[str] = field(default_factory=set)
    joined: JoinedStubs = field(default_factory=JoinedStubs)
    dequant_stubs: list[str] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    hooked: set[str] = field(default_factory=set)
    never: set[str] = field(default_factory=set)
    watches: dict[str, Watch] = field(default_factory=dict)
    padded: set[str] = field(default_factory=set)
    left: dict[str, str] = field(default_factory=dict)
    reading: int = 0

    def uncalled(self) -> list[str]:
        """Return the ops that were not called and that a forward could call."""
        return [name for name in self.ops if name not in self.kinds]

    def merge(self, later: TraceState) -> TraceState:
        """Add what a pass over another batch has shown; new ops come last."""
        self.watches.update((name, later.watches[name]) for name in later.kinds if name not in self.kinds)
        self.left.update(later.left)
        self.hooked |= later.hooked
        self.padded |= later.padded
        self.kinds = {**self.kinds, **later.kinds}
        for name, all_marks in later.marks.items():
            self.marks.setdefault(name, []).extend(all_marks)
        for ours, theirs in ((self.others, later.others), (self.functionals, later.functionals)):
            for name, marks in theirs.items():
                ours[name] = ours.get(name, frozenset()) | marks
        self.escaping_stubs |= later.escaping_stubs
        self.joined.merge(later.joined)
        return self

    def structure(self) -> Structure:
        """Return the structure that follows, a frozen value."""
        self._join_uses()
        self._find_escaping_stubs()
        self._leave_padded()
        number = {root: index for index, root in enumerate(self.joined.roots(self.stubs))}
        mixed = {
            name: self._all_marks(name) for name in self.kinds if name in self.padded or not self._consistent(name)
        }
        sites = {name: self._site(name, number) for name in self.kinds if name not in self.left and name not in mixed}
        shared = {
            stub: tuple(name for name, site in sites.items() if site.source == stub)
            for stub in sorted(self.shared - self.escaping_stubs)
        }
        islands = find_islands(self.stubs, self.joined, sites, {**self.others, **mixed}, self.functionals)
        escaping = tuple(sorted(self.escaping_stubs))
        return Structure(sites, shared, escaping, islands, tuple(self.dequant_stubs), dict(self.left))

    def _leave_padded(self) -> None:
        """Leave padded convolutions between torch's stubs in float; outside they are like any other."""
        self.padded = {name for name in self.padded & self.kinds.keys() if self._all_marks(name) - self.shared}
        self.left.update(dict.fromkeys(self.padded, "between torch's stubs no INT8 kernel pads as it does"))

    def _join_uses(self) -> None:
        """Join the islands that use one module: it has one lowered form."""
        uses = map(self._all_marks, self.marks)
        for marks in (*uses, *self.others.values(), *self.functionals.values()):
            self.joined.join(marks - self.shared)

    def _find_escaping_stubs(self) -> None:
        """Note the ilit stubs that an op of theirs cannot rely on."""
        for all_marks in self.marks.values():
            sources = {marks & self.shared for marks in all_marks}
            if len(sources) > 1:  # fed by different stubs in different calls: it cannot rely on either
                self.escaping_stubs.update(stub for source in sources for stub in source)
        for name in self.hooked & self.marks.keys():  # hooks are for tensors, and so are given none shared
            self.escaping_stubs |= self._all_marks(name) & self.shared

    def _all_marks(self, name: str) -> Marks:
        return frozenset().union(*self.marks[name])

    def _consistent(self, name: str) -> bool:
        """A module used both inside and outside an island has no one form."""
        inside = {bool(marks - self.shared) for marks in self.marks[name]}
        return len(inside) == 1

    def _site(self, name: str, number: dict[str, int]) -> OpSite:
        kind, relu = self.kinds[name]
        source = next(iter(self.marks[name][0] & self.shared - self.escaping_stubs), "")
        islands = {self.joined.root(mark) for mark in self._all_marks(name) - self.shared}
        watch = self.watches[name]
        island = number[min(islands)] if islands else -1
        return OpSite(kind, relu, source, island, watch.computed, tuple(sorted(watch.computing)))
