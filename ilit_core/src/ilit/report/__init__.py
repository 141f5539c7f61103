"""A run's result told to people and programs; the names here are what plugins use."""

from __future__ import annotations

from ilit.report.console import shown_by
from ilit.report.receipt import Receipt, read_receipt
from ilit.report.summary import Effort, Summary, figures, summary_of_result, summary_of_run
from ilit.report.wording import drop

__all__ = [
    "Effort",
    "Receipt",
    "Summary",
    "drop",
    "figures",
    "read_receipt",
    "shown_by",
    "summary_of_result",
    "summary_of_run",
]
