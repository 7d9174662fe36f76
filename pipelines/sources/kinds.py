"""All kinds of sources: the built-in ones, and those that other packages offer."""

from __future__ import annotations

import difflib
from typing import cast

from mnemic.errors import RecipeError
from mnemic.plugins import find_plugin, load_address, load_entry, plugins
from pipelines.sources.contracts import Source

ENTRY_POINTS = "mnemic.sources"
"""Entry-point group in which other packages offer sources."""

SOURCES: dict[str, str] = {
    "folder": "pipelines.sources.folder:Folder",
    "conversations": "pipelines.sources.conversations:Conversations",
    "mail": "pipelines.sources.mail:Mail",
    "maildir": "pipelines.sources.maildir:Maildir",
    "chatgpt": "pipelines.sources.chatgpt:ChatGPT",
    "claude": "pipelines.sources.claude:Claude",
    "slack": "pipelines.sources.slack:Slack",
    "discord": "pipelines.sources.discord:Discord",
    "telegram": "pipelines.sources.telegram:Telegram",
    "whatsapp": "pipelines.sources.whatsapp:WhatsApp",
    "html": "pipelines.sources.html:WebPages",
    "pdf": "pipelines.sources.pdf:PortableDocuments",
    "docx": "pipelines.sources.docx:WordDocuments",
    "odt": "pipelines.sources.odt:OpenDocuments",
    "pptx": "pipelines.sources.pptx:Slides",
    "xlsx": "pipelines.sources.xlsx:Spreadsheets",
    "epub": "pipelines.sources.epub:Books",
    "notebook": "pipelines.sources.notebooks:Notebooks",
    "markdown": "pipelines.sources.markdown:Markdown",
    "obsidian": "pipelines.sources.obsidian:Vault",
    "notion": "pipelines.sources.notion:NotionExport",
    "code": "pipelines.sources.code:SourceCode",
    "csv": "pipelines.sources.delimited:Delimited",
    "parquet": "pipelines.sources.parquet:Parquet",
    "arrow": "pipelines.sources.arrow:ArrowFiles",
    "hf-dataset": "pipelines.sources.hugging_face:HuggingFace",
    "archive": "pipelines.sources.archives:Archives",
    "warc": "pipelines.sources.warc:Warc",
    "git": "pipelines.sources.git_repository:Git",
    "bank": "pipelines.sources.bank:BankDocuments",
    "lance": "pipelines.sources.lance_table:LanceTable",
    "object-store": "pipelines.sources.object_store:ObjectStoreFolder",
    "python-environment": "pipelines.sources.python_environment:PythonEnvironment",
}
"""Kind of each built-in source -> "module:class". A module is imported when a recipe names its kind."""


def find_source(kind: str) -> type[Source]:
    """The class of a source: a built-in one, or one that another package offers.

    Raises `RecipeError` for an unknown kind, naming the nearest known one, and for an entry point that cannot be used.
    """
    if kind in SOURCES:
        return cast(type[Source], load_address(SOURCES[kind]))
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
