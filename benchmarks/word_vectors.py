"""First and second start with a word vector file as large as GoogleNews' (3 million words, 300 dimensions).

    python -m benchmarks.word_vectors --words 3000000

Words and vectors are synthetic, in the published binary format (3.6 GB); the first start converts them with gensim
into the cache, the second opens the cache. Each start is a separate process; the timing covers opening and one
sentence, without the start of Python. Needs 8 GB of disk and of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

DIM = 300
_BLOCK = 50_000

_START = """
import sys, time
from pathlib import Path
from reeldex.embedding.words.word2vec import open_word_vectors
started = time.monotonic()
words = open_word_vectors(Path(sys.argv[1]), cache_folder=Path(sys.argv[2]))
words.sentence_vectors(["word7 word1234 word999"])
print(f"{len(words):,} words, {time.monotonic() - started:.2f} s")
"""


def main() -> None:
    """Create the file, start twice and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=3_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "vectors.bin"
        _make(source, arguments.words)
        print(f"a file of {source.stat().st_size / 2**30:.2f} GiB")
        for start in ("first", "second", "third"):
            command = [sys.executable, "-c", _START, str(source), str(Path(folder) / "cache")]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"{start:6} start: {said}", flush=True)


def _make(path: Path, words: int) -> None:
    generator = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(f"{words} {DIM}\n".encode())
        for first in range(0, words, _BLOCK):
            for number, vector in enumerate(generator.standard_normal((min(_BLOCK, words - first), DIM), np.float32)):
                file.write(f"word{first + number} ".encode() + vector.tobytes() + b"\n")


if __name__ == "__main__":
    main()
