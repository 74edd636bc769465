"""Brings videos at URLs to this machine, ahead of the decoders. No Prefect.

- `remote_file.py`: what a service says of a file, and the version that a manifest records.
- `faults.py`: what fails with one video, and what with a whole service.
- `web.py` and `object_store.py`: requests to a web server, and to an object store or another file system of fsspec.
- `credentials.py`: those of web servers.
- `services.py`: the service of each URL.
- `witnesses.py`: the videos that are asked for when one cannot be fetched.
- `patience.py`: attempts, pauses and time limits.
- `download.py`: one video into one file, completely or not at all.
- `cache.py`: the folder of fetched videos, bounded in bytes.
- `ahead.py`: the videos of a shard, fetched in threads and handed to the decoders.
- `looking.py`: sizes and versions of many files, for the plan of a run.
"""
