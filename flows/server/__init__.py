"""`reeldex up`: the Prefect server, its deployments and access control.

- `up.py`: the command: server, deployments and worker, until stopped.
- `process.py`: starts the server; `application.py`: the server process; `flow_process.py`: the process of a flow run.
- `configured.py`: the server that the user's settings name.
- `former_parameters.py`: parameters of a run that its flow no longer has.
- `deployments.py`, `job_template.py`: the deployments, their schedules, and how the work pool starts a run.
- `access.py`, `secret_file.py`, `known_servers.py`: the secret, the guard that checks it, and which servers receive it.
- `csp.py`: blocks external requests of Prefect's web page.
- `serialized_sqlite.py`: one writing transaction at a time on SQLite.
"""
