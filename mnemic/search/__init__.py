"""Search: what a bank holds about a question, under a budget of words."""

from mnemic.search.answer import Budget, search
from mnemic.search.buffers import CONTIGUITY
from mnemic.search.results import Hit, Results

__all__ = ["CONTIGUITY", "Budget", "Hit", "Results", "search"]
