"""The public data sets that measurements read: where each comes from, its licence, its files and their SHA-256.

Nothing is downloaded by itself, and nothing of it is part of mnemic. `path` gives a file of a set once its bytes are
those that the numbers of LOG.md were measured on; where the file is absent or another one, it raises `MissingData`,
whose sentence says what to fetch from where. ``python -m bench.data`` says so of every set.

* ``locomo`` (Maharana et al., ACL 2024): very long conversations, their questions, and the turns with the evidence.
* ``tiage`` (Xie et al., EMNLP 2021 Findings): dialogues with labelled shifts of topic.
* ``qmsum`` (Zhong et al., NAACL 2021): meetings with the spans of their topics.
* ``tinyrec`` (Gklezakos et al., arXiv 2407.12028): transcripts of recordings with coarse and fine segments.
* ``multihop`` (Trivedi et al., TACL 2022; Yang et al., EMNLP 2018): HippoRAG's tuning samples of MuSiQue and
  HotpotQA, 100 questions each, with their passages.
* ``triples`` (Gutierrez et al., NeurIPS 2024): GPT-3.5's triples of MuSiQue's passages, as HippoRAG published them.
* ``wikitext-2`` (Merity et al., arXiv 1609.07843): the validation text in its tokenised form.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.places import DATA


class MissingData(Exception):
    """A public file is absent or is another one; the message says where the right one comes from."""


@dataclass(frozen=True)
class PublicFile:
    """A file of a set: its path below ``DATA``, the SHA-256 of its bytes, and its address.

    ``derivation`` says how the file is made of what lies at the address; "" where it is that file itself.
    """

    path: str
    sha256: str
    address: str
    derivation: str = ""


@dataclass(frozen=True)
class PublicSet:
    """A data set: its files, and under which licence they are given."""

    licence: str
    files: tuple[PublicFile, ...]


_GITHUB = "https://raw.githubusercontent.com/"
_TIAGE = _GITHUB + "HuiyuanXie/tiage/{}/data/personachat/anno/{}"
_QMSUM = _GITHUB + "Yale-LILY/QMSum/80a490fd504bce28f7e446fae5cef38f8807c290/data/ALL/jsonl/val.jsonl"
_TINYREC = _GITHUB + "AugmendTech/treeseg/a80cce7949cd0749bb6ccc6e203f510e0dabc0f1/datasets/augmend/dev/"
_HIPPORAG = _GITHUB + "OSU-NLP-Group/HippoRAG/3d95d255a8db0c1699b853cfb4fbe5056708162d/data/"
_WIKITEXT = _GITHUB + "pytorch/examples/37ce9402ff0cae48d764d7788810fd2ed8238b25/word_language_model/data/wikitext-2/"

_RECORDINGS = (
    (
        "49ad30d4-971a-4811-b790-f1df50168db1",
        "0c9684011d7bb714925cdc6ad7daaf1a7480812f0242a33af266102619d0ba11",
        "643351af63ed36d417925c68770ce116b6d0e0d0c7efd6b191a4649cee08df9a",
    ),
    (
        "6fa1bdf4-edc9-4745-a4d4-0dc548a4a1d7",
        "1506ec79eb45095182ad97cb8ed2023173450b36e82297f45c1166dd7e3515af",
        "b50e942f8e0d336ac74540c11ab3d3844138d9a0f9725c0884f40440c8f26c25",
    ),
    (
        "70fd9e08-e480-4870-b516-59be84bfa9e4",
        "85f05775e2f674d159b1be60247a4a7f8f9d3f2bdf02268fa9ef5c02afa62152",
        "c2545185a1b5b9132af5f798f5d10b0751829d27f8d523c04e2cac3ad5891aff",
    ),
    (
        "7c980186-6905-49c4-9b01-c88975324f24",
        "9005aa1478944408ca521bb56df838a358bb8583b07947f2f567df163ff453ee",
        "34090e3d96633c1a8be45b850e71865caf584a4b207678c0485c0cfd35164f03",
    ),
    (
        "7d92ff8b-e6b6-49b0-b615-9d487d855176",
        "09a69aac5a613c45bffca77c93e30d7b58d63373edecf42adbf2f04c90fb709c",
        "a42b4b9e2a1d3881f4c64af37e33d2783643da75090443c6a218571d65a8f074",
    ),
)
"""A recording, the SHA-256 of its transcript, and that of its segments."""

SETS = {
    "locomo": PublicSet(
        "CC BY-NC 4.0",
        (
            PublicFile(
                "locomo_dev.json",
                "9c6e2a28044e6dfb1c4f5f446fc63bcdcdd26ae5c2a4635186e9a67a7483ab94",
                _GITHUB + "snap-research/locomo/main/data/locomo10.json",
                "the list of its conversations conv-26, conv-30 and conv-49, written by `json.dump` with its defaults",
            ),
        ),
    ),
    "tiage": PublicSet(
        "MIT",
        (
            PublicFile(
                "tiage_train.json",
                "f0e2c2d163aa1bcc452d0619494ed7a9bd982c46672985dbc8fa497b66d25199",
                _TIAGE.format("7f761f0e51f25b55717f876f24e30feca232062d", "anno_train.json"),
            ),
            PublicFile(
                "tiage_dev.json",
                "721032dcfbf546e8607c8d9d59089db731aafb1fe6569473c64cea0c030e1a3e",
                _TIAGE.format("bc4a3a9abd5c62f35e9e8e64b2e23bb5405a93fb", "dev/anno_dev.json"),
            ),
        ),
    ),
    "qmsum": PublicSet(
        "MIT",
        (PublicFile("qmsum_val.jsonl", "fc7444e241bdbe6997c01720d07f1a58b7357284acb73f909766e5a4700db49f", _QMSUM),),
    ),
    "tinyrec": PublicSet(
        "Apache-2.0",
        tuple(
            PublicFile(f"tinyrec_dev/{name}", sha256, _TINYREC + name)
            for recording, transcript, segments in _RECORDINGS
            for name, sha256 in ((f"{recording}.json", transcript), (f"{recording}_anno.json", segments))
        ),
    ),
    "multihop": PublicSet(
        "questions of MuSiQue CC BY 4.0, of HotpotQA CC BY-SA 4.0",
        tuple(
            PublicFile(f"multihop/{name}.json", sha256, _HIPPORAG + f"{name}.json")
            for name, sha256 in (
                ("hotpotqa_train", "6c0e2689d03c94b3bb4d5f94ed806ea4f4eb4f46c12132f8e91df774ad5c5a22"),
                ("hotpotqa_train_corpus", "2671af600095eabc5b3f3bc3728861682f14fcced84ef1386509a8ae92647f88"),
                ("musique_train", "bca674746844637f5c68408a96b67bc0542d98e7c53715f3acafe144bd5e4ff4"),
                ("musique_train_corpus", "79845dd085f9df49c8ce440208763e2611aeb86c81ee0bdad2094504381bb651"),
            )
        ),
    ),
    "triples": PublicSet(
        "MIT",
        (
            PublicFile(
                "multihop/musique_train_openie.json",
                "4258bcc89bb20bb5c20e6700b87e21063521a6c3ef5a136ab0d0d7c0ea237585",
                _HIPPORAG.replace("/data/", "/output/")
                + "openie_musique_train_results_ner_gpt-3.5-turbo-1106_1890.json",
            ),
        ),
    ),
    "wikitext-2": PublicSet(
        "CC BY-SA",
        (
            PublicFile(
                "wikitext2_valid.txt",
                "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
                _WIKITEXT + "valid.txt",
            ),
        ),
    ),
}


def path(name: str, file: str = "") -> Path:
    """``file`` of the set ``name``, or its only one, checked; raises `MissingData`."""
    files = SETS[name].files
    (chosen,) = (one for one in files if one.path == file or (not file and len(files) == 1))
    _check(name, chosen)
    return DATA / chosen.path


def paths(name: str) -> list[Path]:
    """All files of the set ``name``, checked; raises `MissingData`."""
    for file in SETS[name].files:
        _check(name, file)
    return [DATA / file.path for file in SETS[name].files]


def faults(name: str) -> Iterator[str]:
    """A sentence for each file of the set ``name`` that is absent or another one: what to fetch from where."""
    for file in SETS[name].files:
        try:
            _check(name, file)
        except MissingData as error:
            yield str(error)


def _check(name: str, file: PublicFile) -> None:
    place = DATA / file.path
    if not place.is_file():
        problem = f"{place} is absent"
    else:
        sha256 = hashlib.sha256(place.read_bytes()).hexdigest()
        if sha256 == file.sha256:
            return
        problem = f"{place} is another file than the one that was measured (SHA-256 {sha256} for {file.sha256})"
    cure = f"make it of {file.address}: {file.derivation}" if file.derivation else f"fetch it from {file.address}"
    raise MissingData(
        f"{problem}. It is part of {name} ({SETS[name].licence}): {cure}. MNEMIC_BENCH_DATA names another folder."
    )


def main() -> int:
    """State of every set, for a person; exit code 1 where a file is missing."""
    complete = True
    for name, public in SETS.items():
        sentences = list(faults(name))
        complete = complete and not sentences
        print(f"{name} ({public.licence}): " + ("in place" if not sentences else ""))
        for sentence in sentences:
            print(f"  {sentence}")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
