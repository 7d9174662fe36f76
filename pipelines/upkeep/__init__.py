"""The life of a bank between its builds: go back to a release, end old ones, merge what many builds have left.

* ``intents``  what a command has begun, so that a kill is finished by whoever writes next
* ``writing``  the lease, for as long as a command writes
* ``finish``   what intents ask for
* ``rollback``, ``prune``, ``compact``  the commands
"""
