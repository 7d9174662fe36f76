"""Libraries for near-duplicates, each with its own code on the word 5-grams of a regular expression.

A peer takes texts and decides for each whether it is a near-duplicate of an earlier one; it raises `MissingPeer` where
it is not installed.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Sequence

from bench.deduplicate.ours import BANDS, PERMUTATIONS, ROWS
from bench.report import peer_library

WORD = re.compile(r"\w+")


def token_sets(texts: Sequence[str]) -> list[set[str]]:
    """The word 5-grams of the peers."""
    sets = []
    for text in texts:
        words = WORD.findall(unicodedata.normalize("NFC", text).lower())
        sets.append({" ".join(words[i : i + 5]) for i in range(len(words) - 4)})
    return sets


def datasketch_lsh(texts: Sequence[str]) -> None:
    """datasketch, MinHash and an index of its bands."""
    datasketch = peer_library("datasketch")
    index = datasketch.MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    for number, tokens in enumerate(token_sets(texts)):
        sketched = datasketch.MinHash(PERMUTATIONS)
        sketched.update_batch([token.encode() for token in tokens])
        index.query(sketched)
        index.insert(str(number), sketched)


def datasketch_bloom(texts: Sequence[str]) -> None:
    """datasketch, MinHash and a Bloom filter for each band."""
    datasketch = peer_library("datasketch")
    warnings.filterwarnings("ignore", "Creating LSHBloom index without save directory")
    index = datasketch.MinHashLSHBloom(num_perm=PERMUTATIONS, params=(BANDS, ROWS), n=len(texts), fp=1e-5)
    for tokens in token_sets(texts):
        sketched = datasketch.MinHash(PERMUTATIONS)
        sketched.update_batch([token.encode() for token in tokens])
        index.query(sketched)
        index.insert(sketched)


def rensa_matrix(texts: Sequence[str]) -> None:
    """rensa, one matrix of all signatures, and flags in one call."""
    rensa = peer_library("rensa")
    matrix = rensa.RMinHash.digest_matrix_from_token_sets(token_sets(texts), PERMUTATIONS, 1)
    rensa.RMinHashLSH(0.8, PERMUTATIONS, BANDS).query_duplicate_flags_matrix_one_shot(matrix)


def gaoya_index(texts: Sequence[str]) -> None:
    """gaoya, which takes whole texts and cuts them itself."""
    gaoya = peer_library("gaoya.minhash")
    index = gaoya.MinHashStringIndex(32, 0.8, BANDS, ROWS, None, "word", True, (5, 5))
    for number, text in enumerate(texts):
        index.query(text)
        index.insert_document(number, text)
