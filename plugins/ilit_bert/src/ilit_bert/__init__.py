"""BERT for ilit: prepared modeling code, GLUE and SQuAD, the ``ilit bert`` commands."""
