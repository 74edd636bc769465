"""One reader per data set, for the published file formats and for reeldex stores.

- `registry` maps names to readers; `options` and `epic_options` hold their options.
- Readers: `howto100m`, `msrvtt`, `youcook2`, `lsmdc`, `epic_labels` (EPIC-KITCHENS by label files), `epic_retrieval`
  (EPIC-KITCHENS-100 multi-instance retrieval).
- `captions`: captions of one's own, split by video.
- What readers return: `records` (training and evaluation sets), `candidates` (annotation rows to a test set),
  `protocols` (published test protocols), `caption_stream` (all captions, to train word vectors).
- What readers share: `tables` (strict text tables), `cells` (texts and times), `rows` (leaves out single bad rows),
  `spans` (rows as clips), `readers` (clip vectors), `locations` (opening features).
- `youcook2_annotations`: YouCook2's official JSON.
"""
