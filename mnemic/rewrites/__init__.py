"""Facts that are written into a model beside its weights: knowledge edits, as paths that can be taken away again.

* ``datasets``    `key_moments`, `statements`, `edits` and `probes`
* ``statement``   one fact: a subject, a relation, a target
* ``prompts``     token ids of prompts, and where their subjects and targets stand
* ``reading``     what a layer reads at a subject, and what a block gives there
* ``solve``       the matrices of an edit, in float64, by the small system
* ``moments``     second moments of what a layer reads
* ``solving``     layer after layer, over all facts of a set together
* ``paths``       what is added to a layer, and its bytes
"""
