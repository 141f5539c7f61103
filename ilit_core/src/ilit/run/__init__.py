"""The run folder: what a search leaves on disk, and how it is read again."""

from __future__ import annotations

from ilit.run.folder import BEST, CALIBRATION, CLOSEST, FRONT_MODELS, JOURNAL, Clock, Run, open_run, write_beside

__all__ = ["BEST", "CALIBRATION", "CLOSEST", "FRONT_MODELS", "JOURNAL", "Clock", "Run", "open_run", "write_beside"]
