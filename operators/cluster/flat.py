"""Flat k-means by faiss, for its centroids: a tree of one level."""

from __future__ import annotations

import numpy as np

from mnemic.arrays import Vectors
from mnemic.errors import MissingExtra


def faiss_centroids(vectors: Vectors, clusters: int, iterations: int, seed: int) -> Vectors:
    """Centroids, float32 [clusters, d], of faiss' k-means over ``vectors`` float32 [n, d]; on its GPUs if it has some.

    Their bits depend on the version of faiss and on its threads. Raises `MissingExtra` where faiss is not installed.
    """
    try:
        import faiss  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtra(
            "`method: faiss` of `cluster` needs faiss, which is not installed; run `pip install faiss-cpu` (or "
            "faiss-gpu), or use `method: flat`, which makes such clusters without it."
        ) from error
    k_means = faiss.Kmeans(
        vectors.shape[1],
        clusters,
        niter=iterations,
        seed=seed,
        gpu=faiss.get_num_gpus() > 0,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    k_means.train(np.ascontiguousarray(vectors))
    centroids: Vectors = np.asarray(k_means.centroids, np.float32).reshape(clusters, -1)
    return centroids
