"""Where jobs run: executors, worker processes and devices. Does not import Prefect.

- `jobs.py`: the protocols `Job` and `Executor`, and the events of a job.
- `worker_processes.py`: the executor that runs jobs in worker processes, one per device.
- `workers.py`: long-lived workers and their pool; `worker_process.py`: what runs inside a worker.
- `messages.py`: what a worker sends to its parent process.
- `process_group.py`: child processes that end with their parent.
- `device_lock.py`: one shard per device at a time, across runs.
- `fault_limit.py`: submits jobs until a fault ends the run.
- `retries.py`: the retry rule; `errors.py`: which errors are retryable.
- `logs.py`: forwards log records from a worker to its parent.
"""
