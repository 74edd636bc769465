"""What a flow needs of Prefect: tasks, states, artifacts, names, lost runs."""
