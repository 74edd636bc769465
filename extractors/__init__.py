"""Frames in, feature arrays out. Knows nothing of Prefect, HDF5 or captions."""
