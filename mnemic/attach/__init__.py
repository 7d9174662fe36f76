"""A language model that generates with memories: hooks read the pass and mix what the memories say into its output.

kNN-LM (arXiv 1911.00172, equation 3) and MLP Memory (arXiv 2508.01832, section 3.4) mix probabilities: p = (1 - w) p_LM
+ w p_memory; of several memories each has its weight, and the model what is left. At weight 0 the model's output is
returned as it is, bit for bit; otherwise ``logits`` become the float32 log-probabilities of the mixture, which softmax
leaves as they are. A memory belongs to the weights and the tokenizer it was made with: the hidden states of any other
model mean something else, so another is refused.

* ``attachment``  attach and detach, and the hook on the model's output
* ``passing``     one forward pass: what was asked for, and where the logits are
* ``reading``     what a memory reads: a block's feed-forward input, or the text itself beside the model's cache
* ``mixing``      the mixture, and the tokens that need none
* ``weights``     weights that stay, that fade, or that a function gives
"""

from mnemic.attach.attachment import attach, detach, verify
from mnemic.attach.output.mixing import mix
from mnemic.attach.output.passing import keep
from mnemic.attach.output.schedules import Constant, Schedule, Unrolling

__all__ = ["Constant", "Schedule", "Unrolling", "attach", "detach", "keep", "mix", "verify"]
