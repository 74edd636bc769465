"""The seven flows, one file each: extract, rerun, verify, train, evaluate, index, pipeline.

- `config`: `pipeline.yaml` as typed values.
- `extraction`, `learning`: the work itself, from the configuration to files and reports.
- `execution`: executors: worker processes, process groups, device locks, retries.
- `progress`: progress bars and log lines.
- `runs`: what a flow uses of Prefect: tasks, states, artifacts.
- `server`: `reeldex up`: the Prefect server, its deployments and access control.

Only the flows, `runs` and `server` import Prefect.
"""
