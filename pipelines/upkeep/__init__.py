"""The life of a bank between its builds: go back to a release, end old ones, merge fragments, remove documents.

* ``intents``  what a command has begun, so that a kill is finished by whoever writes next
* ``writing``  the lease, for as long as a command writes
* ``pinning``  the heads of a bank, and a release of them
* ``finish``   what intents ask for
* ``rollback``, ``prune``, ``compact``, ``removal``  the commands
* ``dropping`` frees what no release needs
* ``chosen``, ``cascade``, ``redo``, ``removing``  which documents a removal is about, and how they go
* ``learners`` the memories that were trained on them
* ``sought``, ``rewriting``, ``erasure``  where texts still stand, and how they go from there
"""
