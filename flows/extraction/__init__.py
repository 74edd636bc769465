"""What an extraction is to do, and the work on one shard. No Prefect."""
