"""Benchmarks of speed, memory and recall. docs/benchmarks.md lists the results.

`make bench` runs `suite.py`: one table of figures, each measured by a part in `parts/` after its outputs were checked.
`sizes.py` says how much is measured, `measuring.py` how; `published.py` is the published extractor, `clips.py` makes
videos, `search_index.py` an index.

`make bench-long` runs the others, which take hours:

- `memory.py`: peak memory of an extraction of a short and a long video.
- `howto100m_samples.py`: the HowTo100M reader against loading whole .npy files.
- `howto100m_opening.py`: opening HowTo100M's captions and list of videos.
- `search_recall.py`: recall and latency of the index.
- `word_vectors.py`: start-up with a large word vector file.
- `prefect_overhead.py`: the overhead of Prefect per run and per shard.
"""
