"""One reader per data set, for the published file formats and for reeldex stores.

- `registry` maps names to readers; `options` and `*_options` hold their options.
- Readers: `howto100m`, `msrvtt`, `youcook2`, `lsmdc`, `epic_labels` (EPIC-KITCHENS by label files), `epic_retrieval`
  (EPIC-KITCHENS-100 multi-instance retrieval), `crosstask` (step localization), `captions` (one's own, split by video).
- What readers return: `records` (training and evaluation sets), `localization` (steps in videos), `candidates`
  (annotation rows to a test set), `protocols` (published test protocols), `caption_stream` (all captions, to train word
  vectors).
- `subsets` takes parts of training sets: exclusions, shares, a validation split.
- What readers share: `tables` (strict text tables), `cells` (texts and times), `rows` (leaves out single bad rows),
  `spans` (rows as clips), `readers` (clip vectors), `locations` (opening features).
- `youcook2_annotations`: YouCook2's official JSON.
"""
