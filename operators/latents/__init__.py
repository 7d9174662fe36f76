"""Training of latents: of one text and one model that stays as it is, by the general trainer (`operators.train`).

* ``settings``            which texts, and what both trainings have in common
* ``cartridges``          the settings of cartridges: rows of a text's keys and values, by distillation
* ``reader``              the model, which reads sequences behind rows
* ``picking``             the rows of a text that a cartridge starts from
* ``continuation``        what the model writes on behind the text, many sequences abreast
* ``study``               what the model says behind the text: sampled continuations, and pieces that it reads again
* ``cartridge_student``   rows under training
* ``cartridge_training``  the epochs of one cartridge, its losses and its gate
* ``memory_tokens``       the settings of vectors that rebuild a text
* ``token_student``       vectors under training
* ``token_training``      the epochs of one text, and whether greedy decoding gives it back
"""
