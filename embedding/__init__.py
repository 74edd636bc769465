"""The text-video embedding of the HowTo100M paper. Imports only `reeldex.storage` of the other packages.

- Method: `model` (the two towers), `loss`, `pooling` (normalised vectors), `multi_instance` (mAP and nDCG).
- Queries without PyTorch: `text_tower` (the sentence tower in NumPy); `mapped_arrays` (its file, and that of words).
- Features: `features` (rows of a store or of .npy files), `block_pooling` (spans of rows to vectors),
  `damaged_rows` (rows that pooling may skip).
- HowTo100M's captions: `captions` (values and windows), `caption_files` (opens a file through the cache),
  `caption_cache` (the mapped file), `caption_sources` and `json_stream` (what is converted), `stop_words`.
- Untrusted files: `unpickling` and `pickled_arrays` read pickles without executing them.
- `options` holds the options models, `errors` the errors.
- Subpackages: `datasets` (readers), `words` (word vectors), `training`, `evaluation`.
"""
