"""Checkpoints and tuned folders: loading and saving them, their tokenizers, BERT's prepared modeling code."""
