"""Where work runs: worker processes, their process groups, logs and devices. No Prefect."""
