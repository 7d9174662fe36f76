"""The Python interface of this floor in `mnemic`: the twins of the commands, and recipes."""

from pipelines.evaluate.bank import evaluate
from pipelines.plan import plan
from pipelines.recipe import Recipe, load_recipe
from pipelines.run import build

__all__ = ["Recipe", "build", "evaluate", "load_recipe", "plan"]
