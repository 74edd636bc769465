"""The public Python API, built on the packages; only `reeldex` itself imports it.

- `extraction.py`: `extract`: features of videos, in this process.
- `text_video.py`: `TextVideoModel`: embeddings of sentences and videos.
"""
