"""The Python interface of this floor in `mnemic`: the twins of the commands, and recipes."""

from pipelines.compose import compose
from pipelines.evaluate.bank import evaluate
from pipelines.fuse import fuse
from pipelines.plan import plan
from pipelines.recipe import Recipe, load_recipe
from pipelines.run import build
from pipelines.upkeep.compact import compact
from pipelines.upkeep.prune import prune
from pipelines.upkeep.removal import readmit, remove
from pipelines.upkeep.rollback import rollback

__all__ = [
    "Recipe",
    "build",
    "compact",
    "compose",
    "evaluate",
    "fuse",
    "load_recipe",
    "plan",
    "prune",
    "readmit",
    "remove",
    "rollback",
]
