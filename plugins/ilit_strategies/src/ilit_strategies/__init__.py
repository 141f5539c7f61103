"""The tuning strategies that come with ilit, a module or folder each.

They register through the same hook as anybody else's (``plugin.py``) and pass the same public suite
(``ilit.testing.StrategyContract``).
"""
