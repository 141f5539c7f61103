"""The tuning strategies that come with ilit: ``basic``, ``exhaustive``, ``random`` and ``mse``.

They register through the same hook as anybody else's (``plugin.py``) and pass the same public suite
(``ilit.testing.StrategyContract``).
"""
