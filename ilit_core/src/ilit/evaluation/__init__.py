"""Scores of models on the user's rows, and the checks that such a score can be trusted."""

from __future__ import annotations

from ilit.evaluation.outputs import ROUNDING, apart, arrays, identical

__all__ = ["ROUNDING", "apart", "arrays", "identical"]
