"""Recipes: what a bank is made of, as YAML read by a safe loader into checked fields.

The sections of a recipe are the operators themselves, so a setting exists once, with its default, beside the code that
uses it. The mistakes of all sections are reported at once, before anything runs. Within a section, values are checked
once its names and types are right. A misspelt key names the nearest known one.

* ``model``     the fields of a recipe, made of the sections
* ``loader``    recipes from files
* ``yaml_text`` YAML as plain values, bounded
* ``limits``    what a recipe may hold at all
* ``problems``  mistakes as sentences
* ``secrets``   what no sentence quotes
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.recipe.loader import SHIPPED, find_recipe, load_recipe

if TYPE_CHECKING:
    from pipelines.recipe.model import Recipe
else:  # the class with the sections is made while the program runs, which no type checker sees
    from pipelines.recipe.model import SectionedRecipe as Recipe

__all__ = ["SHIPPED", "Recipe", "find_recipe", "load_recipe"]
