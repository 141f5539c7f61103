"""The serial executor."""

from __future__ import annotations

from collections.abc import Iterator

from ilit.executor import Executor, SerialExecutor
from ilit.plugins.builtin import ilit_executors


def test_it_is_offered_by_the_hook() -> None:
    """The built-in executor comes through ``ilit_executors`` as anybody's would."""
    assert ilit_executors() == [SerialExecutor]


def test_an_item_is_started_only_when_its_answer_is_asked_for() -> None:
    """One after the other and never ahead, so that the search may stop between two items."""
    seen: list[str] = []

    def items() -> Iterator[int]:
        for number in range(3):
            seen.append(f"pull {number}")
            yield number

    def work(number: int) -> int:
        seen.append(f"work {number}")
        return -number

    answers = SerialExecutor().map(work, items())
    assert next(answers) == 0
    assert seen == ["pull 0", "work 0"]
    assert list(answers) == [-1, -2]
    assert isinstance(SerialExecutor(), Executor)
