"""Feature stores, on disk or at a URL: manifests, HDF5 shards, outcomes. Imports neither PyTorch nor other packages.

- The store: `store` (the entry point) on `readable_store` (what only reads), `layout` (paths), `schema` (value types),
  `reasons` (why a video failed), `catalog`, `contents` and `video_table` (what a store holds), `status`, `durations`
  (from rows), `verify` with `verify_features`, `verify_report` and `verify_sample`, `errors`.
- Large stores: `entry_index` (which shards hold an id or a path), `shard_summary` (the counts of each shard),
  `completeness` (shards that need not be opened), `derived` (the cache of these),
  `bounded_cache` (what is kept in memory), `similar_names` (of a misspelled one).
- Exchange: `npy_export`, `npy_import`, `npy_space` (what is imported), `npy_files`, `sidecar` (the record beside them),
  `comparison/` (two stores or folders), `video_names` (ids and the names of data sets).
- Removing: `forgotten` (videos that no longer count), `removal`, `removed` (spaces that are not to be made again).
- Beside the manifests: `searches` (what each source held), `records` (setting damaged ones aside).
- Planning: `manifest` (which video belongs to which shard), `growth` (what a scan adds), `inspection` (what is on disk
  for a shard), `resume` (what is left to do), `fingerprints` (settings that must not mix), `outcomes`.
- Writing: `staging` (finished videos of unfinished shards), `publishing` (a shard's files), `shard_writing` and
  `row_datasets` (HDF5 files), `housekeeping` (creating and cleaning a store).
- Reading: `hdf5` (opening files), `shard` (one file), `reading` (spans of seconds, files kept open), `batch_reading`,
  `hashing`.
- Who may write: `claims` and `run_claims` (shards, runs, commands) on `leases`, `lease_record`, `lease_owner`,
  `process_id` and `lease_medium`; `workspace` (what keeps an overtaken holder from writing).
- Object stores: `location` (a folder or a URL), `remote_path` (a path there, with the methods of pathlib that stores
  use), `remote_listings` (few requests for many files), `remote_read_ahead` (files read in order), `remote_ranges`
  (parts of files), `remote_requests` (until a deadline), `remote_versions` (replacing only what is unchanged), `drafts`
  (what is to be uploaded), `lease_objects` (claims).
- The file system, for every package: `atomic` (complete files only), `lock` (on one machine), `documents` and
  `json_codec` (JSON files), `system_errors` (unreadable is not damaged).
"""
