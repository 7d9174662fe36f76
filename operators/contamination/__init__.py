"""Evaluation sets in a corpus: which questions stand in which documents, and where."""
