"""Training, evaluation and indexing, from the configuration to files and reports. Does not import Prefect.

- `training_request.py`: what a training is asked to do, and its checks.
- `training.py`, `evaluation.py`, `indexing.py`: one run of each; `in_process.py`: the same without a server.
- `pipeline.py`: all steps of `reeldex run`; `cached_evaluation.py`: skips an evaluation whose inputs are unchanged.
- `pipeline_spaces.py`: the feature spaces that its later steps read.
- `inputs.py`: data sets and word vectors as the configuration names them.
- `published_files.py`: the published checkpoint and evaluation data, downloaded once.
- `training_progress.py`, `indexing_progress.py`: the progress shown.
"""
