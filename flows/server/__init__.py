"""`reeldex up`: the Prefect server, its deployments and who may use it."""
