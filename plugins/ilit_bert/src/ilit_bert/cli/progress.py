"""Progress of a long command on stderr: log lines and one bar."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from ilit.report import shown_by

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
    """Show the records of the logger ``ilit``, and a bar moved by calling the yielded function with (done, total).

    The bar starts anew whenever ``done`` falls back. Once a search has begun, the bar's text is the search's own line:
    which trial it is at and how the last one went. A trial that reads no batches leaves the bar pulsing. Without a
    terminal there are only the lines.
    """
    console = Console(stderr=True)
    # Of all columns it is the text that gives way on a narrow terminal.
    words = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1))
    columns = (words, BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    logger, root, lines = logging.getLogger("ilit"), logging.getLogger(), _Lines(console)
    level = logger.level
    with Progress(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal) as bar:
        bar.add_task(what, total=None)

        def step(done: int, total: int) -> None:
            task = bar.tasks[0]
            if done < task.completed:
                bar.reset(task.id)
            bar.update(task.id, completed=done, total=total)

        def tell(line: str) -> None:
            bar.remove_task(bar.tasks[0].id)  # a task cannot forget its total
            bar.add_task(line or what, total=None)

        root.addHandler(lines)
        logger.setLevel(logging.INFO)
        try:
            with shown_by(tell):
                yield step
        finally:
            logger.setLevel(level)
            root.removeHandler(lines)
