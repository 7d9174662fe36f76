"""Units to episodic events, by every segmenter of the field.

An event is a run of neighbouring units about one thing. A segmenter scores the gaps between units, selects boundaries
and may refine them (`operators.segment.boundaries`); what it needs of the units is their vectors, and for the methods
of surprise a column of a language model. The default is `operators.segment.posterior`: change points weighted by their
probability, at the granularity that the text supports best, or at the length ``mean_units``.
"""

from operators.segment.operator import Segment

__all__ = ["Segment"]
