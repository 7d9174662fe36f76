"""The Python twins of the commands: `mnemic.build`, `mnemic.plan`, `mnemic.evaluate`."""

from pipelines.evaluate.bank import evaluate
from pipelines.plan import plan
from pipelines.run import build

__all__ = ["build", "evaluate", "plan"]
