"""`pipeline.yaml` as typed, strict values, composed of the packages' options models.

- `pipeline.py`: the whole configuration: loading, validation and error messages.
- `extraction.py`: the sections `extract`, `compute`, `weights` and `schedules`.
- `learning.py`: the sections `words`, `train` and `evaluate`.
- `search.py`: the sections `index` and `page`.
- `datasets.py`: the section `datasets`.
- `document.py`: the configuration as a commented YAML file.
"""
