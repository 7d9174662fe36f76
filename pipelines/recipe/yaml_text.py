"""YAML to plain values, by the safe loader, within the limits of a recipe.

A parser's message is reported without its quotations: a password that begins with `*` is an alias to YAML, and its name
would be in the sentence.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipelines.recipe.limits import DEEPEST, MOST_VALUES

_QUOTED = re.compile(r"\s*[:,]?\s*'(?![<\[\]{}:,?-])[^<].*", re.DOTALL)


class NotYaml(Exception):
    """The text is no YAML that a recipe may hold; the message says why and where, and quotes nothing."""


def read_yaml(text: str) -> Any:
    """The value that ``text`` is. Raises `NotYaml`."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        problem = _QUOTED.sub("", getattr(error, "problem", None) or "")
        reason = f" ({problem})" if problem else ""
        raise NotYaml(f" at line {where.line + 1}{reason}" if where else "") from None
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError, RecursionError):
        raise NotYaml(" (a date, number or tag in it is none)") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, bounded. It refuses a key that stands twice: YAML would take the last one in silence.

    An alias counts as the values that it repeats, and cannot stand inside of what it repeats.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}  # of a finished node: the values that it holds
        self._depth = 0
        self._values = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        begin = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        alias = self.check_event(yaml.AliasEvent)  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > DEEPEST:
            raise ConstructorError(None, None, "it is nested too deeply", begin)
        node: Any = super().compose_node(parent, index)  # type: ignore[no-untyped-call]
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise ConstructorError(None, None, "an alias repeats what it stands in", begin)
        if not alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(child)] for child in _children(node))
        self._values += 1
        if max(self._values, self._sizes[id(node)]) > MOST_VALUES:
            raise ConstructorError(None, None, f"it holds more than {MOST_VALUES:,} values", begin)
        return node  # type: ignore[no-any-return]

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                if key.value in names:
                    name = key.value if len(key.value) <= 40 else "a key"
                    raise ConstructorError(None, None, f"`{name}` stands twice", node.start_mark)
                names.add(key.value)
        return super().construct_mapping(node, deep)


def _children(node: Any) -> list[Node]:
    if isinstance(node, MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []
