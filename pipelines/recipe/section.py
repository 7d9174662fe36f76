"""How the settings of a section become its operator, and when the section is off."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError, ValidationInfo, ValidatorFunctionWrapHandler
from pydantic_core import PydanticCustomError

from mnemic.errors import RecipeError
from operators.sections import Section, preset_fields


@dataclasses.dataclass(frozen=True)
class SectionCheck:
    """Validator of a recipe's field: settings in, operator out, or None where the section is off.

    ``pipeline`` are all sections, ``default`` what the field has where the recipe does not name the section.
    """

    section: Section
    pipeline: tuple[Section, ...]
    default: Any

    def __call__(self, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Put shared settings into a section; one that it says itself is refused, along with its other mistakes."""
        settings = self._settings(value, info.data)
        if settings is None:
            return None
        missing = self._missing(info.data)
        if missing is not None:
            if value is self.default:
                return None
            raise ValueError(
                f"it needs `{missing}`, which is off; leave `{self.section.name}` out, or turn `{missing}` on"
            )
        shared = self.section.shared
        own = dict(settings) if isinstance(settings, Mapping) else {}
        problems: list[Any] = [
            {"type": PydanticCustomError("said_once", "{place}", {"place": place}), "loc": (name,), "input": own[name]}
            for name, place in shared.items()
            if name in own
        ]
        named = {name: setting for name, setting in own.items() if name not in shared}
        try:
            operator = check(named if isinstance(settings, Mapping) else settings)
        except ValidationError as error:
            problems += error.errors()
        if problems:
            raise ValidationError.from_exception_data(self.section.name, problems)
        values = {name: said_at(info.data, place) for name, place in shared.items()}
        settled = {name: value for name, value in values.items() if value is not None}
        return dataclasses.replace(operator, **settled)

    def _settings(self, value: Any, before: Mapping[str, Any]) -> Any:
        """The settings that the section runs with: a mapping, or an operator as it was given; None where it is off."""
        if value is None and self.section.on:
            raise PydanticCustomError("dataclass_type", "settings are needed")
        settings: Any = {} if value is True else value
        if value is False or value is None:
            settings = None
        if settings is not None and not isinstance(settings, Mapping):
            return settings
        if settings is not None:
            settings = dict(settings)
        if self.section.complete is not None:
            settings = self._completed(settings, before)
        if settings is None:
            return None
        if value is False:
            raise ValueError(
                f"it is turned off, and another section needs it; leave `{self.section.name}` out, or change that one"
            )
        presets = {name: said_at(before, place) for name, place in preset_fields(self.section.operator).items()}
        return {name: preset for name, preset in presets.items() if preset is not None} | settings

    def _completed(self, settings: dict[str, Any] | None, before: Mapping[str, Any]) -> dict[str, Any] | None:
        """The settings after the section's own `complete`. An error of it that is no sentence becomes one."""
        assert self.section.complete is not None
        try:
            completed = self.section.complete(settings, before)
        except (RecipeError, ValueError, AssertionError):
            raise
        except Exception as error:
            raise ValueError(
                f"its package cannot complete the settings ({type(error).__name__}: {error}); repair or uninstall it"
            ) from error
        if completed is not None and not isinstance(completed, dict):
            raise ValueError(f"its package completes the settings to {completed!r}; repair or uninstall it")
        return completed

    def _missing(self, before: Mapping[str, Any]) -> str | None:
        """A section that is off and without which this one cannot run: the first, which the others wait for."""
        return _off(self.section, {section.step_called: section for section in self.pipeline}, before)


def _off(section: Section, steps: Mapping[str, Section], before: Mapping[str, Any]) -> str | None:
    """The first section that is off of those that ``section`` needs, and that these need."""
    for name in section.needed_steps:
        needed = steps.get(name)
        if needed is not None and before.get(needed.name, needed) is None:
            return _off(needed, steps, before) or needed.name
    return None


def said_at(sections: Mapping[str, Any], place: str) -> Any:
    """The setting at ``place`` ("language_model", "signature.ngram"); None where it is unset, or its section wrong."""
    section, _, name = place.partition(".")
    value = sections.get(section)
    return getattr(value, name) if name and value is not None else value
