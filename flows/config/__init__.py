"""`pipeline.yaml` as typed, strict values, composed of the packages' options models.

- `pipeline.py`: the whole configuration: loading, validation and error messages.
- `extraction.py`: the sections `extract`, `compute`, `weights` and `schedules`.
- `learning.py`: the sections `words`, `train` and `evaluate`.
- `search.py`: the sections `index` and `page`.
- `datasets.py`: the section `datasets`.
- `notify.py`: the section `notify`, whose values are secrets.
- `keys.py`: keys by their dotted paths. `forms.py`: which of them are fields of the flows' forms.
- `document.py`: the configuration as a commented YAML file.
"""
