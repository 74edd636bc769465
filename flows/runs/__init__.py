"""What a flow uses of Prefect.

- `tasks.py`: Prefect tasks around the packages; `prefect_executor.py`: an executor with one task per shard.
- `shard_attempts.py`: what a task asks the process of its flow run; `ray_tasks.py`: tasks in processes of Ray.
- `form_flow.py`: flows whose parameters are a short form; `form_fields.py`: fields that several forms share.
- `extraction.py`: a prepared extraction as tasks of a flow run.
- `as_flow_run.py`: flow runs that a command creates in its process: a prepared run goes in, a report comes out.
- `states.py`: the final state of a flow run.
- `artifacts.py`, `evaluation_artifacts.py`, `pipeline_artifact.py`: summaries, tables and pictures in the Prefect UI.
- `store_artifact.py`: the page on a store, with its history; `progress_artifact.py`: the progress of a run.
- `form_words.py`: advice in the words of the forms.
- `names.py`: names of runs, pool and tag.
- `logs.py`: our log in Prefect's log of a run.
- `signs_of_life.py`, `process_guard.py`: what shows that a run's process is alive, and what reports its death.
- `surplus_runs.py`: runs of a schedule that pile up.
- `lost_runs.py`: marks runs of this host whose process is gone as crashed, and what they left running.
"""
