"""Metrics for any torch model, on outputs and labels that are checked."""
