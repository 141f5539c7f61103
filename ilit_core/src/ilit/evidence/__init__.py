"""The evidence of paired predictions for a drop of accuracy: its bound, corrected for the comparisons of a search."""

from __future__ import annotations

from ilit.evidence.record import Evidence

__all__ = ["Evidence"]
