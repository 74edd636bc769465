"""Where jobs run: executors, worker processes, clusters and devices. Does not import Prefect.

- `jobs.py`: the protocols `Job`, `Workers` and `Executor`, and the events of a job.
- `engines.py`: the workers of each engine; `thread_executor.py`: the executor that runs jobs on them without Prefect.
- `worker_processes.py`: the workers of this machine, one per device.
- `workers.py`: long-lived worker processes and their pool; `worker_process.py`: what runs inside one.
- `cluster_workers.py`: the workers on a cluster, which replaces lost ones; `shares.py`: which node gets how many.
- `ray_cluster.py`: Ray's cluster and its workers; `head_watch.py`: whether its head node answers; `remote_worker.py`:
  what runs inside an actor.
- `ray_requests.py`: what Prefect tasks in processes of Ray ask the process of their run; `request_queue.py`: the queue.
- `messages.py`: what a worker sends to the process of the run.
- `process_group.py`: child processes that end with their parent.
- `device_lock.py`: one shard per device at a time, across runs.
- `fault_limit.py`: submits jobs until a fault ends the run.
- `retries.py`: the retry rule; `errors.py`: which errors are retryable.
- `logs.py`: forwards log records from a worker to the process of the run.
"""
