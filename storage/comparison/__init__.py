"""Compares the features of two stores, or of a store and a folder of .npy files.

- `compare` (the entry point): pairs feature spaces and videos, and reports them.
- `feature_sets`: the features of a store or of a folder, by space.
- `rows`: two arrays of rows: cosines, shift, norms, rows that are not numbers.
- `causes`: what the figures of all videos suggest as the cause.
"""
