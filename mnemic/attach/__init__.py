"""A language model that generates with memories: they enter it at its output, its layers, its cache or its prompt.

`Host` is one model that memories enter. Each of its four places has a form that leaves the model as it is, bit for bit:
weight 0, down rows of zero, an empty prefix, an empty context. What enters combines freely and closes in any order.

At the output kNN-LM (arXiv 1911.00172, equation 3) and MLP Memory (arXiv 2508.01832, section 3.4) mix probabilities:
p = (1 - w) p_LM + w p_memory; of several memories each has its weight, and the model the rest. The ``logits`` become
the float32 log-probabilities of the mixture, which softmax leaves as they are. `attach` and `detach` do this for
memories and their lock: a memory belongs to the weights and the tokenizer it was made with, the hidden states of any
other model mean something else, so another is refused.

* ``attachment``   attach and detach, and the lock
* ``host``         one model, its four places, and the hooks that they need
* ``entry``        what acts until it is closed
* ``output/``      the mixture of memories into the logits: mixing, passing, reading, schedules
* ``feedforward``  rows added to a feed-forward layer, and paths beside it
* ``fetched``      rows that are chosen for each text, and ``changed``, a change of the layer's own matrices
* ``cache``        keys and values that are read before the prompt; ``prefixed``, ``rotation``, ``reading`` serve it
* ``prompt``       text before the prompt
* ``generation``   `generate` of a model that memories have entered
"""

from mnemic.attach.attachment import attach, attached, detach, verify
from mnemic.attach.cache import Prefix
from mnemic.attach.entry import Entries, Entry
from mnemic.attach.generation import Prompt
from mnemic.attach.host import Host
from mnemic.attach.output.mixing import mix
from mnemic.attach.output.passing import keep
from mnemic.attach.output.schedules import Constant, Schedule, Unrolling
from mnemic.attach.reading import read_prefix

__all__ = [
    "Constant",
    "Entries",
    "Entry",
    "Host",
    "Prefix",
    "Prompt",
    "Schedule",
    "Unrolling",
    "attach",
    "attached",
    "detach",
    "keep",
    "mix",
    "read_prefix",
    "verify",
]
