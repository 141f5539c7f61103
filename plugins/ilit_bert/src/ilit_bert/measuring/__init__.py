"""Figures of whole models beside each other: seconds of forward passes, and what loading takes."""
