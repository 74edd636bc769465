"""Training, evaluation and indexing, from the configuration to files. No Prefect."""
