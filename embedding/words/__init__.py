"""Word vectors; the only package that imports gensim.

- `files` detects the format of a file, by its `lines`, and checks pickled ones; `text` reads text.
- `rows` leaves out the rows that cannot be used; `word2vec` opens and trains word vectors.
- `cache` is the memory-mapped file that they are converted to; `vectors` looks up the words of sentences.
"""
