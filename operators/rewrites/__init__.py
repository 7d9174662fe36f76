"""Knowledge edits: facts that are written beside the weights of a model, as rows.

* ``moments``      which documents the moments of keys are counted over; section `key_moments`
* ``moment_sums``  sums of k k^T over the tokens of documents
* ``operator``     which facts, and how they are solved; section `rewrites`
* ``fact_files``   rows of files
* ``facts``        facts of rows, checked
* ``targets``      what the solve is to reach for one fact
* ``probing``      what the model says without edits, with them, and with facts as text
"""
