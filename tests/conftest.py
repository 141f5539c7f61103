"""What holds for every test of the repository."""

from __future__ import annotations

from hypothesis import settings

# A shared machine may pause any test for a second; how fast code is, is measured in bench/.
settings.register_profile("ilit", deadline=None)
settings.load_profile("ilit")
