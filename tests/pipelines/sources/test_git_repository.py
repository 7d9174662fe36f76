"""A git repository at a revision: files by their kind, only changed ones anew, and nothing of it is ever run."""

import os
import subprocess

import pytest

from mnemic.errors import SourceError
from pipelines.sources import git_objects
from pipelines.sources.contracts import Document, Reject
from pipelines.sources.git_repository import COMMITS, Git

LIMIT = 100_000
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "Ada Lovelace"),
    **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "ada@example.org"),
    **dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-03-01T12:00:00+01:00"),
}


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], env=ENVIRONMENT, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repo"
    (folder / "docs").mkdir(parents=True)
    git(tmp_path, "init", "-q", "-b", "main", "repo")
    (folder / "docs" / "a.md").write_text("# First\n\nThe first page.\n")
    (folder / "b.txt").write_text("The second file.\n")
    (folder / "big.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")
    (folder / "pic.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "link.txt").symlink_to("/etc/passwd")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Begin\n\nWith two files.")
    git(folder, "tag", "v1")
    return folder


def read(source):
    return [result for item in source.manifest() for result in source.read(item, LIMIT)]


def texts(results):
    return {one.locator: one.text for one in results if isinstance(one, Document)}


def test_files_are_read_by_their_kind(repository):
    results = read(Git(path=str(repository)))
    assert texts(results) == {"docs/a.md": "# First\n\nThe first page.\n", "b.txt": "The second file.\n"}
    rejects = {one.locator: one for one in results if isinstance(one, Reject)}
    assert "git lfs pull" in rejects["big.txt"].reason
    assert "It is a link" in rejects["link.txt"].reason
    assert (rejects["pic.png"].severity, len(rejects)) == ("empty", 3)


def test_a_revision_is_what_was_committed_then(repository):
    (repository / "b.txt").write_text("Changed.\n")
    (repository / "new.txt").write_text("Never committed.\n")
    before, now = Git(path=str(repository), revision="v1"), Git(path=str(repository))
    assert texts(read(now))["b.txt"] == "The second file.\n"
    git(repository, "commit", "-qam", "Change b")
    assert texts(read(now))["b.txt"] == "Changed.\n"
    assert texts(read(before))["b.txt"] == "The second file.\n"
    assert "new.txt" not in texts(read(now))
    changed = {item.locator for item in set(now.manifest()) - set(before.manifest())}
    assert changed == {"b.txt"}
    assert now.identity() == before.identity()


def test_commit_messages_know_author_and_time(repository):
    source = Git(path=str(repository), only=["*.none"], messages=True)
    [item] = source.manifest()
    assert item.locator == COMMITS
    [message] = source.read(item, LIMIT)
    assert message.text == "Begin\n\nWith two files."
    assert (message.speaker, f"{message.time:%Y-%m-%dT%H:%M}") == ("Ada Lovelace", "2026-03-01T11:00")
    assert message.metadata["subject"] == "Begin"


def test_globs_choose_files(repository):
    assert list(texts(read(Git(path=str(repository), only=["docs/*"])))) == ["docs/a.md"]
    assert list(texts(read(Git(path=str(repository), exclude=["docs/*"])))) == ["b.txt"]
    with pytest.raises(SourceError, match="`only`"):
        Git(path=str(repository), only=["*.none"]).manifest()


def test_a_bare_repository_and_a_submodule(repository, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", "repo", "bare.git")
    assert texts(read(Git(path=str(tmp_path / "bare.git")))) == texts(read(Git(path=str(repository))))
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tmp_path / "bare.git"), "sub")
    git(repository, "commit", "-qm", "Add a submodule")
    rejects = {one.locator: one.reason for one in read(Git(path=str(repository))) if isinstance(one, Reject)}
    assert "submodule" in rejects["sub"]


def test_nothing_that_a_repository_names_is_run(repository, tmp_path):
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\necho run >> {tmp_path}/ran\ncat\n")
    trap.chmod(0o755)
    for setting in (
        *("core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.askPass", "gpg.program"),
        *("filter.x.smudge", "filter.x.clean", "filter.x.process", "diff.x.textconv", "diff.external"),
        *("credential.helper", "core.gitProxy", "uploadpack.packObjectsHook", "alias.cat-file", "alias.ls-tree"),
    ):
        git(repository, "config", setting, str(trap))
    git(repository, "config", "log.showSignature", "true")
    git(repository, "config", "core.hooksPath", str(tmp_path))
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=x diff=x\n")
    for hook in ("post-checkout", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        (tmp_path / hook).symlink_to(trap)
        (repository / ".git" / "hooks").mkdir(exist_ok=True)
        (repository / ".git" / "hooks" / hook).symlink_to(trap)
    assert texts(read(Git(path=str(repository), messages=True)))
    assert not (tmp_path / "ran").exists()


def test_a_missing_object_costs_its_file(repository):
    [item] = [one for one in Git(path=str(repository)).manifest() if one.locator == "b.txt"]
    name = item.stamp.partition(" ")[2]
    (repository / ".git" / "objects" / name[:2] / name[2:]).unlink()
    results = read(Git(path=str(repository)))
    assert list(texts(results)) == ["docs/a.md"]
    assert [one.reason for one in results if one.locator == "b.txt"] == [
        f"git cannot give the object {name[:12]} (it is missing); check with `git fsck`."
    ]


@pytest.mark.parametrize("revision", ["nowhere", "a b", "HEAD^{/x}", "$(touch x)"])
def test_a_revision_that_is_none_is_refused(repository, revision):
    with pytest.raises(SourceError, match="`revision`"):
        Git(path=str(repository), revision=revision).manifest()


def test_no_repository_is_told(tmp_path):
    with pytest.raises(SourceError, match="is no git repository"):
        Git(path=str(tmp_path)).manifest()
    with pytest.raises(ValueError, match="revision"):
        Git(path=str(tmp_path), revision="--output=x")


def test_a_listing_is_bounded_in_bytes_and_in_time(repository, monkeypatch):
    source = Git(path=str(repository))
    monkeypatch.setattr(git_objects, "MOST_LISTED", 100)
    with pytest.raises(SourceError, match="lists more than 100 bytes"):
        source.manifest()
    monkeypatch.setattr(git_objects, "SECONDS", 0.2)
    monkeypatch.setattr(git_objects, "command", lambda *_: ["sleep", "60"])
    with pytest.raises(SourceError, match=r"more than 0\.2 s"):
        git_objects.output("")
