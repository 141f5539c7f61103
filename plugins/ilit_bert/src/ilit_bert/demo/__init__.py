"""The demo: a generated corpus, a small BERT trained on it, outliers planted in that."""
