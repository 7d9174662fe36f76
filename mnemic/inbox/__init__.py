"""What people remember between two builds: rows that a search finds at once, and the next build makes documents of.

* ``dataset``  the rows that a build has taken over
* ``calls``    what is remembered, checked, and as the bytes of a file
* ``files``    the folder of these files, and the names that say what is in them
* ``waiting``  the rows that the reader's release does not hold yet
* ``inbox``    remembering and forgetting, with their limits
* ``vectors``  the vectors of what waits, in the bank's cache
* ``pieces``   how a search cuts rows before a build does
* ``fate``     what became of a row
* ``remembering``  what a bank offers of all this

A call is one file in the folder `inbox` of the bank, written whole under a name of its own, so that any number of
processes may remember without the bank's lease. A build, which holds the lease, takes the rows over into the dataset
`inbox`, which every release pins like its other datasets, and deletes the files after the commit. A row has the same id
in both, so that it is one row wherever it stands, and in both for a moment.
"""
