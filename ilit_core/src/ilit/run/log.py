"""``log.txt``: everything the logger ``ilit`` says during a run, whatever the user's own logging shows.

What is said before the run folder exists is buffered and written once it does. The user's handlers see what they
would see without a run: the level of the logger ``ilit`` as it was decides about that.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import threading
from collections.abc import Iterator
from pathlib import Path

_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
_logger = logging.getLogger("ilit")


class _Forward(logging.Handler):
    """Passes on to the handlers above ``ilit`` what would have reached them without a run."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= self.level and _logger.parent is not None:
            _logger.parent.handle(record)


class RunLog(logging.handlers.MemoryHandler):
    """Buffers records until ``write_to`` names the file, then writes each at once."""

    def __init__(self) -> None:
        # Nothing is dropped: the capacity only says when to try to flush, and without a target that does nothing.
        super().__init__(capacity=1, flushOnClose=True)
        self.setFormatter(_FORMAT)
        self.setLevel(logging.INFO)

    def write_to(self, file: Path) -> None:
        """Write the records buffered so far, and from now on each one, to ``file``."""
        target = logging.FileHandler(file, encoding="utf-8")
        target.setFormatter(_FORMAT)
        self.setTarget(target)
        self.flush()

    def flush(self) -> None:
        """Write the buffered records where there is a file."""
        if self.target is not None:
            super().flush()

    def close(self) -> None:
        """Close the file as well."""
        target = self.target
        super().close()
        if target is not None:
            target.close()


class _Loan:
    """The logger ``ilit`` while runs of this process hold it; the last one to leave puts it back as it was."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: list[RunLog] = []
        self.level = logging.NOTSET
        self.propagate = True
        self.forward = _Forward()

    def join(self, log: RunLog) -> None:
        with self.lock:
            if not self.runs:
                self.level, self.propagate = _logger.level, _logger.propagate
                self.forward.setLevel(_logger.getEffectiveLevel())
                _logger.setLevel(min(self.forward.level, logging.INFO))
                if self.propagate:
                    _logger.propagate = False
                    _logger.addHandler(self.forward)
            self.runs.append(log)
            _logger.addHandler(log)

    def leave(self, log: RunLog) -> None:
        with self.lock:
            _logger.removeHandler(log)
            self.runs.remove(log)
            if not self.runs:
                _logger.removeHandler(self.forward)
                _logger.propagate = self.propagate
                _logger.setLevel(self.level)


_loan = _Loan()


@contextlib.contextmanager
def run_log() -> Iterator[RunLog]:
    """Collect the records of the logger ``ilit`` from INFO on for as long as the context lasts."""
    log = RunLog()
    _loan.join(log)
    try:
        yield log
    finally:
        _loan.leave(log)
        log.close()
