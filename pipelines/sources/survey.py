"""What is in a folder, by format: for `mnemic init`, which writes a source for each."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from glob import escape
from typing import Any

from mnemic.errors import SourceError
from pipelines.sources.recognise import HEAD, Format, entries_of, recognised, recognised_folder, unreadable

READ = 5_000
"""Files whose beginning is read; of more, those of an ending that had one format so far are taken for that."""

PROPOSED = 200
"""Files of a format that are asked for their settings; of more, the first ones speak for all."""

ALONE = 20
"""Files of a format that get a source of their own, where they cannot be told from others."""

Settings = tuple[tuple[str, Any], ...]


@dataclass
class Group:
    """Files of one format that are read with the same settings, or folders that are each one thing."""

    form: Format
    settings: Settings
    paths: list[str] = field(default_factory=list)  # relative to the folder
    folders: bool = False

    @property
    def suffixes(self) -> list[str]:
        """The endings of the files; whole names of those that have none."""
        return sorted({_suffix(path) for path in self.paths})


@dataclass
class Survey:
    """``unread``: what nothing reads -> how many, and one of them. ``alone``: a file was looked at, and no folder."""

    groups: list[Group] = field(default_factory=list)
    unread: dict[str, tuple[int, str]] = field(default_factory=dict)
    alone: bool = False

    @property
    def claimed(self) -> list[str]:
        """The folders that are one thing, whose files are nobody else's."""
        return sorted(path for group in self.groups if group.folders for path in group.paths)


@dataclass(frozen=True)
class Proposal:
    """A source of a recipe: its settings, in order, and what it reads, for a comment."""

    settings: dict[str, Any]
    form: Format
    files: int


def survey(path: str) -> Survey:
    """Look at all files below a folder, or at one file, and name their formats. Raises `SourceError`."""
    if not os.path.isdir(path):
        return replace(_sorted_out([(os.path.basename(path), path)], []), alone=True)
    files: list[tuple[str, str]] = []
    folders: list[tuple[str, Format]] = []
    for relative, claimed in _walk(path):
        if claimed is None:
            files.append((relative, os.path.join(path, relative)))
        else:
            folders.append((relative, claimed))
    return _sorted_out(files, [(relative, os.path.join(path, relative), form) for relative, form in folders])


def _walk(root: str) -> Iterator[tuple[str, Format | None]]:
    """Files as (path, None), and folders that are one thing as (path, format); hidden names are left out."""
    pending = [""]
    while pending:
        folder = pending.pop()
        place = os.path.join(root, folder)
        try:
            names = entries_of(place)
        except OSError as error:
            if not folder:
                raise SourceError(f"The folder {root} cannot be read ({error.strerror}); name another one.") from error
            continue
        if "releases.lance/" in names:  # a bank of ours
            continue
        form = recognised_folder(os.path.abspath(place), names)
        # The files of a checkout stand there, and are more than what was committed.
        if form is not None and not (form.kind == "git" and {".git", ".git/"} & set(names)):
            yield folder, form
            continue
        for name in names:
            if name.startswith("."):
                continue
            path = os.path.join(folder, name.rstrip("/"))
            if name.endswith("/"):
                pending.append(path)
            elif os.path.isfile(os.path.join(root, path)):
                yield path, None


def _sorted_out(files: list[tuple[str, str]], folders: list[tuple[str, str, Format]]) -> Survey:
    groups: dict[tuple[str, Settings], Group] = {}
    unread: Counter[str] = Counter()
    example: dict[str, str] = {}
    of_ending: dict[str, set[Format | None]] = {}
    readings: Counter[str] = Counter()
    for number, (relative, place) in enumerate(sorted(files)):
        ending = _suffix(relative)
        forms = of_ending.setdefault(ending, set())
        head = b""
        if number < READ or len(forms) != 1:
            head = _head(place)
            form = recognised(os.path.basename(relative), head)
            forms.add(form)
        else:
            (form,) = forms
        if form is None:
            phrase = unreadable(head) or ("empty" if not head.strip() else "of no format that is known")
            unread[phrase] += 1
            example.setdefault(phrase, relative)
            continue
        readings[form.kind] += 1
        settings = _proposed(form, place, head) if readings[form.kind] <= PROPOSED else _first(groups, form)
        groups.setdefault((form.kind, settings), Group(form, settings)).paths.append(relative)
    for relative, place, form in sorted(folders, key=lambda one: one[0]):
        propose = form.has("propose_folder")
        settings = _frozen(propose(place, frozenset(entries_of(place)))) if propose else ()
        key = (f"{form.kind}/", settings)
        groups.setdefault(key, Group(form, settings, folders=True)).paths.append(relative)
    ordered = sorted(groups.values(), key=lambda group: (group.folders, -len(group.paths), group.form.kind))
    return Survey(ordered, {phrase: (count, example[phrase]) for phrase, count in unread.most_common()})


def _first(groups: dict[tuple[str, Settings], Group], form: Format) -> Settings:
    return next(settings for kind, settings in groups if kind == form.kind)


def _proposed(form: Format, place: str, head: bytes) -> Settings:
    propose = form.has("propose")
    return _frozen(propose(place, os.path.basename(place), head)) if propose else ()


def _frozen(settings: dict[str, object]) -> Settings:
    return tuple(sorted(settings.items(), key=lambda pair: pair[0]))


def _head(place: str) -> bytes:
    try:
        with open(place, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _suffix(path: str) -> str:
    """How the name ends: `.html`, `.tar.gz`, or "/README" where it has no ending."""
    name = os.path.basename(path)
    stem, ending = os.path.splitext(name)
    inner = os.path.splitext(stem)[1].lower()
    if ending.lower() in (".gz", ".bz2", ".xz", ".zst") and inner in (".tar", ".warc", ".wet"):
        return f"{inner}{ending.lower()}"
    return ending.lower() if ending else f"/{name}"


def proposals(contents: Survey, path: str) -> list[Proposal]:
    """A source for every format of a survey of ``path``, as a recipe has them.

    Formats whose endings differ are each one source of the whole folder. Where an ending stands for several, a source
    leaves what another one reads; files that cannot be told apart by their content get sources of their own.
    """
    chosen: list[Proposal] = []

    def below(relative: str) -> str:
        return path if contents.alone or not relative else os.path.join(path, relative)

    groups = [group for group in contents.groups if not group.folders]
    largest = {group.form.kind: group for group in reversed(groups)}  # they come from the largest down
    for group in groups:
        rivals = [other for other in groups if other is not group and set(other.suffixes) & set(group.suffixes)]
        same = [other for other in rivals if other.form.kind == group.form.kind]
        few = bool(rivals) and len(group.paths) <= 5
        if few or (same and largest[group.form.kind] is not group):
            for one in group.paths[:ALONE]:
                chosen.append(_proposal(group, below(one), 1))
            _leave(contents, group, group.paths[ALONE:])
            continue
        exclude = [f"{escape(folder)}/**" for folder in contents.claimed if folder]
        exclude += [escape(one) for other in same for one in other.paths]
        more: dict[str, Any] = {"suffixes": group.suffixes}
        if exclude:
            more["exclude"] = exclude[:200]
        if rivals:
            more["others"] = "leave"
        chosen.append(_proposal(group, path, len(group.paths), more))
    for group in contents.groups:
        if group.folders:
            for one in group.paths[:ALONE]:
                chosen.append(_proposal(group, below(one), 1))
            _leave(contents, group, group.paths[ALONE:])
    return _named(chosen, path)


def _leave(contents: Survey, group: Group, paths: Iterable[str]) -> None:
    rest = list(paths)
    if rest:
        contents.unread[f"{group.form.title} beyond the first {ALONE}, which need a source each"] = (len(rest), rest[0])


def _proposal(group: Group, path: str, files: int, more: dict[str, Any] | None = None) -> Proposal:
    settings = {"kind": group.form.kind, "path": path, **(more or {}), **dict(group.settings)}
    return Proposal(settings, group.form, files)


def _named(chosen: list[Proposal], folder: str) -> list[Proposal]:
    """With names that differ, where several are of one kind: by the last part of their paths."""
    kinds = Counter(str(one.settings["kind"]) for one in chosen)
    uses: Counter[str] = Counter()
    named = []
    for one in chosen:
        kind = str(one.settings["kind"])
        rest = {name: value for name, value in one.settings.items() if name != "kind"}
        name = kind
        if kinds[kind] > 1 and rest["path"] != folder:
            stem = os.path.splitext(os.path.basename(str(rest["path"])))[0]
            name = f"{kind}-{re.sub(r'[^A-Za-z0-9._-]+', '-', stem).strip('-')}".rstrip("-")
        uses[name] += 1
        name = name if uses[name] == 1 else f"{name}-{uses[name]}"
        named.append(Proposal({"kind": kind, **({} if name == kind else {"name": name}), **rest}, one.form, one.files))
    return named
