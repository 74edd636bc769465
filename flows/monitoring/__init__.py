"""Metrics of runs, for Prometheus.

- `metrics.py`: names, kinds and labels of all metrics.
- `run_file.py`: the metrics of one run, in a file that it rewrites while it works.
- `collection.py`: the sum of all runs of a machine, those that have ended included.
- `endpoint.py`: serves them over HTTP.
"""
