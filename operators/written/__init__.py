"""Written memory: notes that a language model writes of events, checked against what they were written of.

* ``packs``      the parts of documents that a model is asked about
* ``prompts``    what it is asked, and the schema of its answer
* ``operator``   the settings of the step that asks, requests, and the verdict on a reply
* ``presets``    settings by published systems
* ``when``       times as a model writes them
* ``grounding``  whether a sentence stands in its sources
* ``facts``      notes from answers
* ``summaries``  summaries from answers
* ``mmr``        sentences that stand for a text, by information and unlikeness
* ``excerpts``   excerpts of sessions and events, without a model
"""
