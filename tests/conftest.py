"""What holds for every test of the repository."""

from __future__ import annotations

import os

from hypothesis import settings

# Each of pytest-xdist's workers has a core to itself; torch reads this when it is imported, here and in subprocesses.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shared machine may pause any test for a second; how fast code is, is measured in bench/.
settings.register_profile("ilit", deadline=None)
settings.load_profile("ilit")
