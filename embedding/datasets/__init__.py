"""One reader per data set, for the published file formats and for reeldex stores.

- `registry` maps names to readers; `options` and `*_options` hold their options, `feature_options` where features are.
- Readers: `howto100m`, `msrvtt`, `youcook2`, `lsmdc`, `epic_labels` (EPIC-KITCHENS by label files), `epic_retrieval`
  (EPIC-KITCHENS-100 multi-instance retrieval), `crosstask` (step localization), `captions` (one's own, split by video).
- What readers return: `records` (training and evaluation sets of `clips`), `unusable` (what was left out),
  `localization` (steps in videos), `candidates` (rows to a test set), `protocols` (published test protocols),
  `caption_stream` (all captions, to train word vectors).
- `subsets` takes parts of training sets: exclusions, shares, a validation split; `video_identity` tells videos apart.
- Files: `text_files` (UTF-8 text, JSON), `tables` (with a first line of names), `bare_tables` (without), `id_lists`,
  `rows` (strict values, leaves out single bad rows), `cells` (texts and times).
- What readers share: `spans` (rows as clips), `readers` (clip vectors), `locations` (opening features).
- `youcook2_annotations`: YouCook2's official JSON.
"""
