"""Islands: which of torch's stubs are joined by data, and what lies between them.

A module has one lowered form, so two islands that meet in a module, or in a function, are one. Joined stubs are held as
a disjoint-set forest: every stub leads to the root that stands for its island.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ilit_pytorch.model.structure import Island, OpSite

Marks = frozenset[str]
"""Paths of the stubs that an activation comes from."""


@dataclass
class JoinedStubs:
    """Which stubs' activations meet.

    Attributes:
        parent: path of a stub -> that of another stub of its island; roots have no entry.
    """

    parent: dict[str, str] = field(default_factory=dict)

    def join(self, stubs: Marks) -> None:
        """Note that these stubs' activations meet, so that they are one island."""
        roots = sorted({self.root(stub) for stub in stubs})
        for root in roots[1:]:
            self.parent[root] = roots[0]

    def root(self, stub: str) -> str:
        """Return the stub that stands for the island of this one."""
        while stub in self.parent:
            stub = self.parent[stub]
        return stub

    def roots(self, stubs: Iterable[str]) -> list[str]:
        """Return the roots of stubs, each once, in the order of their first stub; islands are numbered by it."""
        return list(dict.fromkeys(self.root(stub) for stub in stubs))

    def merge(self, later: JoinedStubs) -> None:
        """Add what another pass has joined."""
        for stub in later.parent:
            self.join(frozenset({stub, later.root(stub)}))

    def inside(self, marks: Mapping[str, Marks], root: str) -> tuple[str, ...]:
        """Return the modules that an activation of the island reaches; ``marks``: module path -> what reaches it."""
        return tuple(name for name, found in marks.items() if any(self.root(stub) == root for stub in found))


def find_islands(
    stubs: Iterable[str],
    joined: JoinedStubs,
    sites: Mapping[str, OpSite],
    others: Mapping[str, Marks],
    functionals: Mapping[str, Marks],
) -> tuple[Island, ...]:
    """Return the islands, in the order in which ``OpSite.island`` counts them.

    Args:
        stubs: torch's ``QuantStub``s, by path.
        joined: which of them are one island.
        sites: op path -> where it stands.
        others: path of a module that is no op -> stubs whose activations it is given.
        functionals: path of a ``FloatFunctional`` -> the same.
    """
    stubs = list(stubs)
    return tuple(
        Island(
            stubs=tuple(stub for stub in stubs if joined.root(stub) == root),
            ops=tuple(name for name, site in sites.items() if site.island == number),
            others=joined.inside(others, root),
            functionals=joined.inside(functionals, root),
        )
        for number, root in enumerate(joined.roots(stubs))
    )
