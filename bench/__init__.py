"""Measurements, one folder for each stage: `python -m bench.NAME [--quick] [--json FILE]`.

NAME is `deduplicate`, `segment`, `embed`, `cluster`, `search`, `teacher`, `datastore`, `imitate`, `suffix` or `engine`.
Parts of a stage run alone too: `bench.segment.rates`, `bench.segment.surprise`, `bench.search.recall`,
`bench.imitate.quality`, `bench.imitate.speed`, `bench.imitate.training`, `bench.suffix.quality`.
`python -m bench.data` lists the public data sets, where each comes from, and which of them are in place. Peers and
limits are measured in the same run as ours (`bench/requirements.txt`).
"""
