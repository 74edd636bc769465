"""How a training reads a store by data workers: `python -m tests.storage.data_loader STORE METHOD WORKERS`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from reeldex.storage.store import FeatureStore
from tests.storage.test_read_many import SPACE, VIDEOS


class Rows:
    """A data set as a training would write it: PyTorch calls `__getitems__` with the numbers of a batch."""

    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(VIDEOS)

    def __getitem__(self, number: int) -> tuple[str, npt.NDArray[np.float16]]:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: list[int]) -> list[tuple[str, npt.NDArray[np.float16]]]:
        ids = [VIDEOS[number] for number in numbers]
        return list(zip(ids, self.store.read_many(SPACE, ids), strict=True))


def as_it_is(batch: list[tuple[str, npt.NDArray[np.float16]]]) -> list[tuple[str, npt.NDArray[np.float16]]]:
    return batch


def batches(store: FeatureStore, method: str, workers: int) -> Iterator[list[tuple[str, bytes]]]:
    from torch.utils.data import DataLoader

    loader: DataLoader[object] = DataLoader(
        Rows(store),  # type: ignore[arg-type]  # what PyTorch calls is there
        batch_size=7,
        shuffle=True,
        num_workers=workers,
        multiprocessing_context=method,
        collate_fn=as_it_is,
        persistent_workers=True,
    )
    for _ in range(3):
        yield [(video_id, rows.tobytes()) for batch in loader for video_id, rows in batch]


def main(path: str, method: str, workers: str) -> None:
    """Read all rows three times by workers, and by this process while they run; say how many were equal."""
    store = FeatureStore(path)
    # The handles of this process are open before workers start.
    expected = {video_id: store.read(SPACE, video_id).tobytes() for video_id in VIDEOS}
    epochs = 0
    for epoch in batches(store, method, int(workers)):
        assert sorted(video_id for video_id, _ in epoch) == VIDEOS
        assert dict(epoch) == expected
        assert store.read_many(SPACE, VIDEOS)[3].tobytes() == expected["v03"]
        epochs += 1
    print(f"{epochs} epochs of {len(expected)} videos")  # noqa: T201 - for the test


if __name__ == "__main__":
    main(*sys.argv[1:])
