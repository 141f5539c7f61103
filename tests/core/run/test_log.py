"""``log.txt`` has everything, and the user's own logging is left as it was."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ilit.run.log import run_log

LOGGER = logging.getLogger("ilit.somewhere")


def test_everything_is_written_from_the_start(tmp_path: Path) -> None:
    """What was said before the file was known is in it as well, and DEBUG is not."""
    with run_log() as log:
        LOGGER.info("early")
        log.write_to(tmp_path / "log.txt")
        LOGGER.info("late")
        LOGGER.debug("too fine")
        assert "late" in (tmp_path / "log.txt").read_text()
    LOGGER.warning("afterwards")
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split()[2:] for line in lines] == [["INFO", "ilit.somewhere:", word] for word in ("early", "late")]


@pytest.mark.parametrize(
    ("level", "heard"),
    [(logging.NOTSET, ["loud"]), (logging.INFO, ["quiet", "loud"]), (logging.ERROR, [])],
    ids=["not set", "info", "error"],
)
def test_the_user_hears_what_the_level_says(level: int, heard: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Handlers above get what they would get without a run, no more and no less."""
    logger = logging.getLogger("ilit")
    logger.setLevel(level)
    try:
        with run_log():
            LOGGER.info("quiet")
            LOGGER.warning("loud")
    finally:
        logger.setLevel(logging.NOTSET)
    assert [record.message for record in caplog.records] == heard


def test_the_logger_is_put_back() -> None:
    """After the last of several runs in one process, level, propagation and handlers are as before."""
    logger = logging.getLogger("ilit")
    before = (logger.level, logger.propagate, list(logger.handlers))
    first, second = run_log(), run_log()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logger.level == logging.INFO
    second.__exit__(None, None, None)
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
