"""The run folder: what a search leaves on disk, and how it is read again."""

from __future__ import annotations

from ilit.run.folder import BEST, CALIBRATION, CLOSEST, FRONT_MODELS, JOURNAL, Clock, write_beside
from ilit.run.front import FrontMember
from ilit.run.predictions import read_predictions
from ilit.run.records import Finished, Header, Probed
from ilit.run.state import Run, open_run

__all__ = [
    "BEST",
    "CALIBRATION",
    "CLOSEST",
    "FRONT_MODELS",
    "JOURNAL",
    "Clock",
    "Finished",
    "FrontMember",
    "Header",
    "Probed",
    "Run",
    "open_run",
    "read_predictions",
    "write_beside",
]
