"""Training a memory to imitate the retriever.

MLP Memory (arXiv 2508.01832, sections 3 and 5): the loss is alpha KL(p || q) + (1 - alpha) CE, best at alpha = 0.4.
Memory Decoder (arXiv 2508.09874) trains a small causal model by the same loss. The training itself is general and
stands in `operators.train`.

* ``mlp``      the student that reads one hidden vector: an MLP memory
* ``decoder``  the student that reads the text itself: a Memory Decoder
* ``texts``    that text as tokens, with the teacher of each row (`mnemic.memories.texts`)
* ``rows``     what is trained on
"""

from operators.imitate.decoder import Decode
from operators.imitate.mlp import Imitate

__all__ = ["Decode", "Imitate"]
