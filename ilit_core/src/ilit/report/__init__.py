"""A run's result told to people and programs; the names here are what plugins use."""

from __future__ import annotations

from ilit.report.console import shown_by
from ilit.report.wording import drop, evaluation_rows, evidence_fields, score_in_full

__all__ = ["drop", "evaluation_rows", "evidence_fields", "score_in_full", "shown_by"]
