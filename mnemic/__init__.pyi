from mnemic import contracts as contracts
from mnemic import segment as segment
from mnemic.bank import Bank as Bank
from mnemic.bank import open_bank as open_bank
from mnemic.copies import copy as copy
from mnemic.copies import pack as pack
from mnemic.copies import unpack as unpack
from mnemic.difference import diff as diff
from mnemic.errors import MnemicError as MnemicError
from mnemic.memories.kinds import Memory as Memory
from mnemic.memories.kinds import MemoryInfo as MemoryInfo
from mnemic.release import Release as Release
from mnemic.search.results import Hit as Hit
from mnemic.search.results import Results as Results
from pipelines.api import Recipe as Recipe
from pipelines.api import build as build
from pipelines.api import compact as compact
from pipelines.api import compose as compose
from pipelines.api import evaluate as evaluate
from pipelines.api import fuse as fuse
from pipelines.api import load_recipe as load_recipe
from pipelines.api import plan as plan
from pipelines.api import prune as prune
from pipelines.api import readmit as readmit
from pipelines.api import remove as remove
from pipelines.api import rollback as rollback

__version__: str
