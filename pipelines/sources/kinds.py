"""Which sources there are: the built-in ones, and those that other packages offer."""

from __future__ import annotations

import difflib
from typing import cast

from mnemic.errors import RecipeError
from mnemic.plugins import find_plugin, load_entry, plugins
from pipelines.sources.chatgpt import ChatGPT
from pipelines.sources.claude import Claude
from pipelines.sources.contracts import Source
from pipelines.sources.conversations import Conversations
from pipelines.sources.discord import Discord
from pipelines.sources.folder import Folder
from pipelines.sources.mail import Mail
from pipelines.sources.maildir import Maildir
from pipelines.sources.python_environment import PythonEnvironment
from pipelines.sources.slack import Slack
from pipelines.sources.telegram import Telegram
from pipelines.sources.whatsapp import WhatsApp

ENTRY_POINTS = "mnemic.sources"
"""Entry-point group in which other packages offer sources."""

SOURCES: dict[str, type] = {
    "folder": Folder,
    "conversations": Conversations,
    "python-environment": PythonEnvironment,
    "mail": Mail,
    "maildir": Maildir,
    "chatgpt": ChatGPT,
    "claude": Claude,
    "slack": Slack,
    "discord": Discord,
    "telegram": Telegram,
    "whatsapp": WhatsApp,
}
"""The built-in sources by kind."""


def find_source(kind: str) -> type[Source]:
    """The class of a source: a built-in one, or one that another package offers.

    Raises `RecipeError` for an unknown kind, naming the nearest known one, and for an entry point that cannot be used.
    """
    if kind in SOURCES:
        return cast(type[Source], SOURCES[kind])
    plugin = find_plugin(ENTRY_POINTS, kind)
    if plugin is None:
        names = sorted({*SOURCES, *(plugin.name for plugin in plugins(ENTRY_POINTS))})
        nearest = difflib.get_close_matches(kind, names, n=1)
        hint = f"did you mean '{nearest[0]}'?" if nearest else "is the package that offers it installed?"
        raise RecipeError(f"There is no source of kind '{kind}', only {', '.join(names)}; {hint}")
    point = plugin.entry
    try:
        source = load_entry(point)
    except Exception as error:
        raise RecipeError(
            f"The source '{kind}' ({point.value}) cannot be imported ({type(error).__name__}: {error}); repair or"
            " uninstall the package that offers it."
        ) from error
    contract = ("model_validate", "version", "identity", "manifest", "read")
    missing = [member for member in contract if not hasattr(source, member)]
    if not isinstance(source, type) or missing:
        raise RecipeError(
            f"The source '{kind}' ({point.value}) is not a pydantic model with {', '.join(contract[1:])}; see `Source`"
            " in pipelines/sources/contracts.py for what a source must have."
        )
    return cast(type[Source], source)
