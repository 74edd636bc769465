"""Benchmarks of speed, memory and recall. docs/benchmarks.md lists the results.

- `throughput.py`: the extraction engine against the published method.
- `memory.py`: peak memory of an extraction of a short and a long video.
- `howto100m_samples.py`: the HowTo100M reader against loading whole .npy files.
- `howto100m_opening.py`: opening HowTo100M's captions and list of videos.
- `search_recall.py`: recall and latency of the index.
- `word_vectors.py`: start-up with a large word vector file.
- `prefect_overhead.py`: the overhead of Prefect per run and per shard.
"""
