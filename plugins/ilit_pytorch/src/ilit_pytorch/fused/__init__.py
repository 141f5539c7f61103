"""Calls that prepared modeling code makes in place of several modules: the same in float, one kernel in INT8."""
