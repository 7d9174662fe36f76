"""Every error that mnemic raises on purpose. Each message is a sentence that ends with the way out.

MnemicError                     exit code 1
|-- RecipeError                 2   the recipe cannot be used as it stands
|-- QueryError                  2   a search, or a condition on it, that cannot be answered
|-- UnknownCommand              2   no command of that name
|-- SourceError                 3   a source is missing, empty or unreadable
|-- ModelError                  4   a model cannot be loaded, or is not the one a memory was made for
|-- BankError                   5   the path is not a bank, or not one that this version can read
|   |-- BankInUse               6   another build holds the bank's lease
|   `-- OtherRecipe             7   the bank belongs to another recipe
|-- StepError                   8   a step failed
|   |-- TooManyRejects          9   a step rejected more rows than its limit allows
|   `-- BudgetReached          13   calls to a language model have used up their budget
|-- NoSpace                    10   the disk is full
|-- MissingExtra               11   an optional part of mnemic is not installed
|-- PluginError                11   what another package adds to mnemic cannot be used
`-- Unreachable                12   a cluster, an object store or a language model does not answer
"""

from __future__ import annotations

from typing import ClassVar


class MnemicError(Exception):
    """Base of all errors of mnemic; ``str(error)`` is a sentence meant for a person."""

    exit_code: ClassVar[int] = 1
    log: tuple[str, ...] = ()
    """Last lines of the worker that failed, where it was another process."""


class RecipeError(MnemicError, ValueError):
    exit_code = 2


class QueryError(MnemicError, ValueError):
    exit_code = 2


class UnknownCommand(MnemicError):
    exit_code = 2


class SourceError(MnemicError):
    exit_code = 3


class ModelError(MnemicError):
    exit_code = 4


class BankError(MnemicError):
    exit_code = 5


class BankInUse(BankError):
    exit_code = 6


class BuildUnfinished(BankError):
    """A build has begun and not ended, and what was asked for needs a bank between two builds."""


class InboxFull(BankError):
    """As much was remembered as may wait for the next build."""


class OtherRecipe(BankError):
    exit_code = 7


class StepError(MnemicError):
    exit_code = 8


class TooManyRejects(StepError):
    exit_code = 9


class BudgetReached(StepError):
    exit_code = 13


class NoSpace(MnemicError):
    exit_code = 10


class MissingExtra(MnemicError):
    exit_code = 11


class PluginError(MnemicError):
    exit_code = 11


class Unreachable(MnemicError):
    exit_code = 12
