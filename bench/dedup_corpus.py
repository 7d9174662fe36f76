"""A corpus of real text with natural and planted near-duplicates, for `bench.deduplicate`.

Natural part: the text of documentation packages of Debian (HTML pages, manual pages, plain text; several versions of
one manual, so near-duplicates occur by themselves; English, German, Spanish, French, Japanese, Portuguese, Russian).
Planted part: edits of natural documents down to a drawn similarity, and edge cases (empty, very short, exact, case,
punctuation and Unicode variants). The same packages and the same seed give the same texts. The packages are downloaded
once, with `apt-get download`; they and the corpus are kept in the cache folder.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import io
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tarfile
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.dedup_truth import jaccard, shingles

CACHE = Path(os.environ.get("MNEMIC_BENCH_CACHE", Path.home() / ".cache" / "mnemic" / "bench")) / "deduplicate"

PACKAGES = [
    "bible-kjv-text",
    "cinder-doc",
    "clang-14-doc",
    "clang-15-doc",
    "cppreference-doc-en-html",
    "debian-handbook",
    "dict-foldoc",
    "dict-gcide",
    "erlang-doc",
    "freebsd-manpages",
    "git-doc",
    "groovy-doc",
    "jython-doc",
    "libboost1.74-doc",
    "libboost1.81-doc",
    "libglib2.0-doc",
    "libgtk-3-doc",
    "libgtk-4-doc",
    "lilypond-doc-html",
    "linux-doc-6.1",
    "llvm-13-doc",
    "llvm-14-doc",
    "llvm-15-doc",
    "llvm-16-doc",
    "manpages",
    "manpages-de",
    "manpages-dev",
    "manpages-es",
    "manpages-fr",
    "manpages-ja",
    "manpages-pt-br",
    "manpages-ru",
    "neutron-doc",
    "nodejs-doc",
    "nova-doc",
    "openjdk-17-doc",
    "perl-doc",
    "pike8.0-doc",
    "postgresql-doc-15",
    "python-django-doc",
    "python3.11-doc",
    "qtbase5-doc-html",
    "r-doc-html",
    "rust-doc",
    "scala-doc",
]

DOCUMENTS, PLANTED, SEED = 100_000, 12_000, 20240611
PART_CHARACTERS, FEWEST_WORDS = 8000, 20
TARGETS = (0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95)
WORD = re.compile(r"\w+")

_drop = re.compile(rb"(?is)<(script|style|nav|head|svg)\b.*?</\1\s*>|<!--.*?-->")
_block = re.compile(r"(?i)</?(p|div|li|h[1-6]|tr|pre|dt|dd|br|table|section|ul|ol)\b[^>]*>")
_tag = re.compile(r"<[^>]{0,2000}>")
_roff = re.compile(r"(?m)^[.'](?:\\\"|\s*\\\").*$|^[.'][A-Za-z]{1,3}\b[ ]?|\\f[A-Z]|\\f\([A-Z]{2}|\\[&/,|^]")


def html_text(raw: bytes) -> str:
    s = _drop.sub(b" ", raw).decode("utf-8", "replace")
    s = _tag.sub(" ", _block.sub("\n\n", s))
    s = html.unescape(s)
    s = re.sub(r"[ \t\r\f\v\u00a0]+", " ", s)
    return re.sub(r"\s*\n\s*\n\s*", "\n\n", s).strip()


def plain_text(raw: bytes, roff: bool) -> str:
    s = raw.decode("utf-8", "replace").replace("\x00", "")
    if roff:
        s = _roff.sub("", s).replace("\\-", "-")
    return re.sub(r"\n{3,}", "\n\n", s).strip()


def split(text: str, limit: int) -> list[str]:
    """Parts of about `limit` characters, cut between paragraphs (or lines)."""
    if len(text) <= 2 * limit:
        return [text]
    out, cur, size = [], [], 0
    for para in re.split(r"(?<=\n)\n+", text):
        for piece in [para] if len(para) <= limit else para.splitlines(keepends=True):
            cur.append(piece)
            size += len(piece)
            if size >= limit:
                out.append("".join(cur).strip())
                cur, size = [], 0
    if cur:
        out.append("".join(cur).strip())
    return out


def read_deb(job: tuple[str, int, int]) -> list[tuple[str, str]]:
    deb, limit, min_words = job
    pkg = Path(deb).name.split("_")[0]
    proc = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
    out = []
    with tarfile.open(fileobj=proc.stdout, mode="r|") as tar:
        for m in tar:
            if not m.isfile() or m.size > 32 << 20 or m.size < 100:
                continue
            name = m.name.lstrip("./")
            base = name
            raw = tar.extractfile(m).read()
            if base.endswith((".gz", ".dz")):
                base = base[:-3]
                try:
                    raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(64 << 20)
                except OSError:
                    continue
            ext = base.rsplit(".", 1)[-1].lower() if "." in base.rsplit("/", 1)[-1] else ""
            if ext in ("html", "htm", "xhtml"):
                text = html_text(raw)
            elif "/man/" in base:
                text = plain_text(raw, True)
            elif ext in ("txt", "rst", "pod", "md", "dict", "text") or base.endswith(("copyright", "README")):
                if raw[:4096].count(b"\0"):
                    continue
                text = plain_text(raw, False)
            else:
                continue
            for k, part in enumerate(split(text, limit)):
                if len(WORD.findall(part)) >= min_words:
                    out.append((f"{pkg}:{name}#{k}", part))
    proc.wait()
    return out


def edit_to(rng: random.Random, text: str, base: set, target: float, kind: str, vocab: list[str]):
    """Edit `text` until its Jaccard to `base` is just at or above `target`."""
    raw = text.split()
    n = len(raw)
    lo, hi, best = 0, n, (text, 1.0)
    order = rng.sample(range(n), n)
    fill = [rng.choice(vocab) for _ in range(2 * n)]
    start = rng.randrange(n)
    for _ in range(24):  # bisect the number of edits: Jaccard falls with it
        k = (lo + hi) // 2
        if kind == "sub":
            new = list(raw)
            for j in order[:k]:
                new[j] = fill[j]
        elif kind == "del":
            new = raw[:start] + raw[start + k :] if start + k <= n else raw[(start + k) % n : start]
        elif kind == "ins":
            new = raw[:start] + fill[: 2 * k] + raw[start:]
        elif kind == "trunc":
            new = raw[: max(1, n - k)]
        else:  # mix: words replaced, and as many dropped
            gone = set(order[k // 2 : k])
            repl = set(order[: k // 2])
            new = [fill[i] if i in repl else w for i, w in enumerate(raw) if i not in gone]
        cand = " ".join(new)
        j = jaccard(base, shingles(cand))
        if j >= target:
            best, lo = (cand, j), k
        else:
            hi = k
        if hi - lo <= 1:
            break
    return best


def plant(natural: list[tuple[str, str]], count: int, seed: int):
    rng = random.Random(seed)
    vocab = sorted({w for _, t in natural[:: max(1, len(natural) // 400)] for w in t.split()[:200] if w.isalpha()})
    ok = [i for i, (_, t) in enumerate(natural) if 500 < len(t) < 20000]
    rng.shuffle(ok)
    out = []
    kinds = ("sub", "del", "ins", "trunc", "mix")
    pick = iter(ok)
    for c in range(count):
        i = next(pick)
        key, text = natural[i]
        base = shingles(text)
        if len(base) < 60:
            continue
        edge = c % 12
        if edge == 10:
            edit, new = "exact", text
        elif edge == 11:
            edit, new = (
                ("case", text.upper()),
                ("space", "  " + "\n".join(text.split()) + "\n"),
                ("punct", re.sub(r"[.,;:]", "", text)),
                ("nfd", unicodedata.normalize("NFD", text)),
                ("nbsp", text.replace(" ", "\u00a0")),
                ("bom", "\ufeff" + text),
            )[c // 12 % 6]
        else:
            edit = kinds[c // 12 % len(kinds)]
            new, _ = edit_to(rng, text, base, TARGETS[edge], edit, vocab)
        out.append((f"planted:{c:06d}", new, key, jaccard(base, shingles(new)), edit))
    for c in range(max(6, count // 200)):  # edge documents, with no origin
        out.append((f"edge:empty{c:04d}", ("", " ", "\n\n", "\u200b", "--- ***", "\t")[c % 6], "", 0.0, "empty"))
        out.append(
            (
                f"edge:short{c:04d}",
                ("hello world", "Hello, world!", "one two three four", "see also", "日本語")[c % 5],
                "",
                0.0,
                "short",
            )
        )
    return out


def corpus() -> pa.Table:
    """The corpus: id, text, dup_of ("" where natural), jaccard, edit. Made in about four minutes, then cached."""
    made = CACHE / "corpus.parquet"
    if not made.exists():
        packages = CACHE / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        have = {path.name.split("_")[0] for path in packages.glob("*.deb")}
        for name in PACKAGES:
            if name not in have and _lacks(name, packages):
                print(f"Debian has no package {name} here; the corpus is made without it", file=sys.stderr)
        debs = sorted(packages.glob("*.deb"))
        if not debs:
            raise SystemExit("no package could be downloaded: run apt-get update, or name a cache that has some")
        jobs = [(str(deb), PART_CHARACTERS, FEWEST_WORDS) for deb in debs]
        with multiprocessing.Pool() as pool:
            natural = sorted(found for part in pool.map(read_deb, jobs, chunksize=1) for found in part)
        if len(natural) > DOCUMENTS:
            natural = sorted(random.Random(SEED).sample(natural, DOCUMENTS))
        rows = [(key, text, "", 0.0, "") for key, text in natural] + plant(natural, PLANTED, SEED)
        random.Random(SEED + 1).shuffle(rows)
        columns = [pa.array(column) for column in zip(*rows, strict=True)]
        columns[1] = columns[1].cast(pa.large_string())
        pq.write_table(pa.table(columns, names=["id", "text", "dup_of", "jaccard", "edit"]), made, row_group_size=8192)
    return pq.read_table(made)


def _lacks(package: str, folder: Path) -> bool:
    command = ["apt-get", "download", "-qq", package]
    return subprocess.run(command, cwd=folder, stderr=subprocess.DEVNULL, check=False).returncode != 0


def digest(table: pa.Table) -> str:
    """Of ids, texts and origins: which corpus a number was measured on."""
    state = hashlib.sha256()
    for row in zip(*(table[name].to_pylist() for name in ("id", "text", "dup_of")), strict=True):
        state.update("\0".join(row).encode())
    return state.hexdigest()[:16]
