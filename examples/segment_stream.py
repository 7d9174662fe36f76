"""Cut a stream of vectors into events as they come: python segment_stream.py."""

from collections.abc import Iterator

import numpy as np

from mnemic.segment import SegmentSettings, Stream


def main() -> None:
    stream = Stream(SegmentSettings(method="cosine", trailing=200, min_units=4, deviations=2.0))
    for vectors in frames():
        for event in stream.push(vectors):
            print(f"units {event.first} to {event.end - 1}")
    for event in stream.finish():
        print(f"units {event.first} to {event.end - 1}, which was open at the end")


def frames() -> Iterator[np.ndarray]:
    """Six scenes of 15 to 40 frames; in each the frames point the same way but for some noise. Seven at a time."""
    draw = np.random.default_rng(0)
    scenes = []
    for _ in range(6):
        scene = draw.normal(size=64)
        scenes.append(scene + 0.4 * draw.normal(size=(draw.integers(15, 40), 64)))
    vectors = np.concatenate(scenes).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for start in range(0, len(vectors), 7):
        yield vectors[start : start + 7]


if __name__ == "__main__":
    main()
