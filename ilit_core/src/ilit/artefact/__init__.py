"""Tuned models on disk: how they are saved at the end of a run, and loaded."""

from __future__ import annotations

from ilit.artefact.loading import load

__all__ = ["load"]
