"""Bytes on disk: manifests, HDF5 shards, outcomes. Knows nothing of torch or of video files."""
