"""`reeldex up`, `deploy` and `worker`: Prefect's server, what is registered on it, and who executes its runs.

- `up.py`: server, deployments and worker, until stopped; `deploy.py`: registers all on the configured server;
  `worker.py`: executes runs on this host.
- `programs.py`: the child processes of these commands; `process.py`: starts the server.
- `application.py`: the server process; `worker_process.py`: the worker's; `flow_process.py`: that of a flow run.
- `settings.py`, `configured.py`: Prefect's settings, and the server that they name; `database.py`: its database.
- `notifications.py`: messages about runs that do not end well; `schedule_sources.py`: schedules over absent folders.
- `former_parameters.py`: parameters of a run that its flow no longer has.
- `deployments.py`, `job_template.py`: the deployments, their schedules, and how the work pool starts a run.
- `host_watch.py`, `retention.py`: end lost runs of this host, delete old runs; `automations.py`: silent hosts.
- `access.py`, `secret_file.py`, `known_servers.py`: the secret, the guard that checks it, and which servers receive it.
- `csp.py`: blocks external requests of Prefect's web page.
- `serialized_sqlite.py`: one writing transaction at a time on SQLite.
"""
