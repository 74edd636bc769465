"""Progress of running work.

- `progress.py`: snapshots, throttling, and the sinks of the current context.
- `sinks.py`: a bar on a terminal, lines in the log.
- `downloads.py`: the progress of downloads.
- `work_rate.py`: the rate of work and the estimated time left.
"""
