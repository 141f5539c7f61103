"""What paired predictions prove about the drop of accuracy."""

from __future__ import annotations

from ilit.evidence.record import Evidence

__all__ = ["Evidence"]
