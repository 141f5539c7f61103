"""A template for ilit plugins: one strategy and one metric."""
