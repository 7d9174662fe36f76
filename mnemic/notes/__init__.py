"""Notes: what a language model wrote of events, with sources and with times.

* ``datasets``   packs, calls and notes as datasets of a bank
* ``history``    which note holds at a time: a fold over notes that changes none
* ``ledger``     what the calls of a bank cost
* ``reading``    the notes of a release, as `Bank.notes` gives them
* ``search``     notes that answer a question, as `Bank.find_notes` gives them
"""
