"""Search: what a bank holds about a question, under a budget of words."""

from mnemic.search.answer import Budget
from mnemic.search.buffers import CONTIGUITY
from mnemic.search.results import Hit, Results
from mnemic.search.searcher import Searcher

__all__ = ["CONTIGUITY", "Budget", "Hit", "Results", "Searcher"]
