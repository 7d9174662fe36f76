"""Training of a table of slots beside layers of a model that stays as it is.

* ``operator``   the settings
* ``table``      the values under training, and which slots fired
* ``row_adam``   moments and steps of rows alone
* ``student``    finders and table as the general trainer (`operators.train`) trains a memory
* ``training``   the epochs, and what comes of them
* ``continual``  new documents: only slots that they fire far more than old text are trained
"""
