"""The step `deduplicate`, over all workers: runs of keys, packs of whole components, and the column."""

from pipelines.steps.deduplicate.step import DeduplicateStep

__all__ = ["DeduplicateStep"]
