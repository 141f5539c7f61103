"""Strategy ``basic``: ``strategy`` tells the search from top to bottom, each step has a module of its own."""

from ilit_strategies.basic.strategy import Basic, BasicOptions

__all__ = ["Basic", "BasicOptions"]
