"""Training of a memory against a teacher, whatever the memory reads.

Training is stateless between epochs: the order of the rows is drawn from (seed, epoch), learning rates follow from the
step, and a checkpoint holds model and moments. So a training that was killed and resumed ends with the same bytes.

* ``settings``    what all students have in common; ``packed``, those of packed sequences without a teacher
* ``loop``        epochs, and when to stop
* ``labels``      what the rows are to say
* ``loss``        the sparse cross-entropy and its gradient, a piece of the logits at a time
* ``muon``        orthogonal updates for the matrices inside
* ``group``       several processes that train one memory
* ``checkpoint``  a training between two epochs as bytes
* ``cost``        its floating-point operations
"""

from operators.train.checkpoint import Checkpoint, Point, finished_weights
from operators.train.settings import Training

__all__ = ["Checkpoint", "Point", "Training", "finished_weights"]
