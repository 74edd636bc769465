"""`pipeline.yaml` as typed, strict values."""
