"""What models compute does not depend on the threads they may use: a worker's cores are no part of a bank."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from mnemic.encoder import TextEncoder
from operators.datastore import Datastore
from operators.embed import Embed

pytestmark = pytest.mark.slow
SENTENCES = [
    f"Sentence {n} says that a commit of {n * 7} fragments is kept by its writer." * (1 + n % 5) for n in range(48)
]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_vectors_of_the_packaged_encoder(threads, dtype):
    encoder = TextEncoder.load(Embed.model, dtype, "cpu")
    vectors = []
    for count in (1, 2, 4):
        threads(count)
        vectors.append(encoder.encode(SENTENCES))
    assert np.array_equal(vectors[0], vectors[1])
    assert np.array_equal(vectors[0], vectors[2])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_rows_of_the_datastore_of_the_packaged_language_model(threads, dtype):
    texts = [" ".join(SENTENCES[n : n + 12])[:1500] for n in range(0, 36, 12)]
    documents = pa.RecordBatch.from_pydict({"id": ["a", "b", "c"], "text": texts, "split": ["store"] * 3})
    score = Datastore(dtype=dtype).open("cpu")
    tables = []
    for count in (1, 2, 4):
        threads(count)
        tables.append(score(documents)[0])
    assert tables[0].num_rows > 300
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
