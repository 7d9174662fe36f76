"""Training an MLP memory to imitate the retriever.

MLP Memory (arXiv 2508.01832, sections 3 and 5): the loss is alpha KL(p || q) + (1 - alpha) CE, best at alpha = 0.4.
Training is stateless between epochs: the order of the rows is drawn from (seed, epoch), learning rates follow from the
step, and a checkpoint holds model and moments, so a training that was killed and resumed ends with the same bytes.

* ``rows``        what is trained on, and batches of it
* ``loss``        the sparse cross-entropy and its gradient, a piece of the logits at a time
* ``muon``        orthogonal updates for the matrices inside
* ``checkpoint``  a training between two epochs as bytes
* ``operator``    settings, epochs, and when to stop
"""

from operators.imitate.checkpoint import Checkpoint, finished_weights
from operators.imitate.operator import Imitate, validate
from operators.imitate.rows import TrainingRows

__all__ = ["Checkpoint", "Imitate", "TrainingRows", "finished_weights", "validate"]
