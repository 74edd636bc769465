"""Extraction, from the configuration to a report. Does not import Prefect.

- `sources.py`: the videos of folders, files and lists; `folders.py`, `patterns.py`: the search of folders; `lists.py`:
  the formats of lists; `file_names.py`: names as text; `video_ids.py`: the ids of found files.
- `search_notes.py`: what a search passed over; `search_record.py`: what a run says and records of its search.
- `plan.py`: which videos are new, and which shards are incomplete; `prepare.py`: all checks before a run;
  `requirements.py`: what it requires of weights, device, ffmpeg and the store's features.
- `choice.py`: shards and videos that a rerun extracts again; `store_faults.py`: names the store in faults of its disk.
- `run.py`: runs the shards of a prepared run on an executor; `in_process.py`: the same without a server.
- `shard_job.py`: one shard as a job; `shard_work.py`: extracts, stages and publishes its videos; `engine_results.py`:
  what is recorded of each.
- `same_files.py`: whether another machine sees the store and the videos of the run.
- `networks.py`: loads the networks of feature spaces, once per process.
- `events.py`, `progress.py`: events of a shard, and the progress shown from them.
- `run_report.py`: the report on a run; `run_time.py`: where its time went; `report.py`: reports as Markdown and table
  rows; `store_history.py`: a page on a store that grows from run to run; `markdown.py`: tables.
- `cost.py`: the estimate of `--dry-run`; `opened_videos.py`, `video_lengths.py`: of a sample or a list; `work.py`: of
  decoding and networks, by `measuring.py` and `calibration.py`; `hardware.py`: for which machines.
- `store_use.py`: a run's use of a store, alone or beside others; `shared_shards.py`: shards that others may process;
  `verification.py`: verification of a store.
"""
