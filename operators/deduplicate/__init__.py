"""Deduplication of documents: signatures row by row, then one decision for the corpus."""

from operators.deduplicate.operator import Deduplicate
from operators.deduplicate.signature import Signature

__all__ = ["Deduplicate", "Signature"]
