"""Where the work of a batch of requests is done: in turn, here. Other executors come as plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

__all__ = ["Executor", "SerialExecutor"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@runtime_checkable
class Executor(Protocol):
    """Runs the independent requests of one tuple. Constructed with the options of ``run.executor``."""

    name: ClassVar[str]

    def __init__(self, **options: Any) -> None: ...

    def map(self, work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield ``work(item)`` for each item, in the items' order, whatever the order they are done in."""


class SerialExecutor:
    """One after the other in this process."""

    name: ClassVar[str] = "serial"

    def map(self, work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield ``work(item)`` for each item; an item is started only when its answer is asked for."""
        return map(work, items)
