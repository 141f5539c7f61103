"""Which modules are ops and how data flows between them, found out by forward passes of the float model."""
