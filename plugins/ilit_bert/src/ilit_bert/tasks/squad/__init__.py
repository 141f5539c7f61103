"""SQuAD v1.1 and v2.0: questions from JSON, windows over long contexts, answers from logits, official scores."""
