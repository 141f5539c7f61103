"""What a long command shows while it runs: log lines and one bar, on stderr."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Step = Callable[[int, int], None]


class _Lines(logging.Handler):
    """Prints records above the bar."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        self.console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Step]:
    """Show what the logger ``ilit`` says, and a bar moved by calling the yielded function with (done, total).

    The bar starts anew whenever ``done`` falls back. Without a terminal there are only the lines.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    logger, root, lines = logging.getLogger("ilit"), logging.getLogger(), _Lines(console)
    level = logger.level
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def step(done: int, total: int) -> None:
            if done < bar.tasks[0].completed:
                bar.reset(task)
            bar.update(task, completed=done, total=total)

        root.addHandler(lines)
        logger.setLevel(logging.INFO)
        try:
            yield step
        finally:
            logger.setLevel(level)
            root.removeHandler(lines)
