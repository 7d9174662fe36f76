"""Training a memory to imitate the retriever.

MLP Memory (arXiv 2508.01832, sections 3 and 5): the loss is alpha KL(p || q) + (1 - alpha) CE, best at alpha = 0.4.
Memory Decoder (arXiv 2508.09874) trains a small causal model by the same loss. Training is stateless between epochs:
the order of the rows is drawn from (seed, epoch), learning rates follow from the step, and a checkpoint holds model and
moments, so a training that was killed and resumed ends with the same bytes.

* ``settings``    what all students have in common
* ``operator``    the student that reads one hidden vector: an MLP memory
* ``decoder``     the student that reads the text itself: a Memory Decoder
* ``texts``       that text as tokens, the rows of the datastore in it, and what a decoder says of them
* ``rows``        what is trained on, and its labels
* ``training``    epochs, and when to stop
* ``loss``        the sparse cross-entropy and its gradient, a piece of the logits at a time
* ``muon``        orthogonal updates for the matrices inside
* ``group``       several processes that train one memory
* ``checkpoint``  a training between two epochs as bytes
* ``cost``        its floating-point operations
"""

from operators.imitate.checkpoint import Checkpoint, Point, finished_weights
from operators.imitate.decoder import Decode
from operators.imitate.operator import Imitate
from operators.imitate.rows import TrainingRows
from operators.imitate.settings import Training
from operators.imitate.texts import TextRows, Texts, decoder_log_probs

__all__ = [
    "Checkpoint",
    "Decode",
    "Imitate",
    "Point",
    "TextRows",
    "Texts",
    "Training",
    "TrainingRows",
    "decoder_log_probs",
    "finished_weights",
]
