"""Timelines: events in the order of the times that they speak of, without a language model.

* ``datasets``  steps of timelines as a dataset of a bank
* ``reading``   the timeline of a name or of a tenant, as `Bank.timeline` gives it
"""
