"""The index of moments and its queries. Imports only `reeldex.embedding` and `reeldex.storage` of the other packages.

- Building: `build` (the steps), `next_generation` (the next state of an index), `request`, `store_videos` (which
  videos), `moments` (windows of a video), `tower` (the network in PyTorch), `embed` (new segments), `compaction`,
  `recall` (measured at each build), `report`.
- On disk: `generation` (`index.json`), `videos_file`, `segments` (embeddings and captions), `folder` (lock and
  leftovers), `origin` (what an index was made from).
- In memory: `video_records` (the videos of an index) in `columns`.
- Querying: `index` (the entry point), `sentences` (their embeddings), `ann_index` (FAISS), `projection`,
  `moment_table`, `ranking` (exact scores), `merging` (overlapping moments), `results`.
- `options` holds the options models, `errors` the errors, `page` the search page.
"""
