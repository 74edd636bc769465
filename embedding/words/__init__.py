"""Word vectors: their files, the memory-mapped cache, looking words up. The home of gensim."""
