from __future__ import annotations

import datetime as dt
import io
import os
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reeldex.embedding.errors import CheckpointError, DatasetError, UnsafePickleError
from reeldex.embedding.training.checkpoint import load_checkpoint
from reeldex.embedding.unpickling import load_pickle, load_pth


def written(path: Path, value: object, protocol: int = pickle.HIGHEST_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def ordinary_array(value: object) -> object:
    return np.asarray(value) if isinstance(value, np.ndarray) else value


class Call:
    """Pickles as a call, which an ordinary unpickler makes."""

    def __init__(self, function: Callable[..., Any], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_features_and_captions_are_made_of_is_read(tmp_path: Path, protocol: int) -> None:
    value = {
        "text": ["café", "it's", b"bytes \xff"],
        "numbers": (1, 2.5, True, None, -(2**70), complex(1, 2)),
        "set": {1, 2},
        "frozen": frozenset({"a"}),
        "ordered": OrderedDict(a=1),
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "texts": np.array(["a b", "c"], dtype=object),
        "fixed": np.array(["ab", "c"]),
        "scalar": np.float32(1.5),
        "string": np.str_("x"),
        "big_endian": np.arange(3, dtype=">i2"),
    }
    read = load_pickle(written(tmp_path / "x.pkl", value, protocol))
    assert isinstance(read, dict)
    ordinary = pickle.loads((tmp_path / "x.pkl").read_bytes())  # noqa: S301 - written just now
    # Arrays that were read are of a class of their own, which shows in nothing but their names.
    assert repr({name: ordinary_array(value) for name, value in read.items()}) == repr(ordinary)
    assert read["half"].dtype == np.float16
    assert read["text"] == value["text"]
    assert read["big_endian"].tolist() == [0, 1, 2]


def test_pickles_of_the_older_numpy_are_read(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(3.0), protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core." in content
    (tmp_path / "old.pkl").write_bytes(content)
    read = load_pickle(tmp_path / "old.pkl")
    assert isinstance(read, np.ndarray)
    assert read.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Call(os.system, "touch {marker}"), "system"),
        (Call(eval, "open({marker!r}, 'w')"), "eval"),
        (Call(exec, "open({marker!r}, 'w')"), "exec"),
        (Call(getattr, np.arange(3), "tofile"), "getattr"),
        (Call(np.load, "{marker}"), "load"),
        (Call(partial, os.system, "touch {marker}"), "partial"),
        (Call(__import__, "antigravity"), "__import__"),
        (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "datetime"),
        (Path("/etc"), "Path"),
        (defaultdict(list), "defaultdict"),
        (torch.zeros(2), "torch"),
    ],
)
def test_everything_else_is_named_and_not_run(tmp_path: Path, value: object, named: str) -> None:
    marker = tmp_path / "it-ran"
    if isinstance(value, Call):
        function, arguments = value.call
        value = Call(function, *(a.format(marker=str(marker)) if isinstance(a, str) else a for a in arguments))
    for protocol in (0, 2, 4):
        path = written(tmp_path / "x.pkl", {"2d": [value]}, protocol)
        with pytest.raises(UnsafePickleError, match=rf"x\.pkl asks for .*{named}.* not run, and the file is refused"):
            load_pickle(path)
    assert not marker.exists()


def test_a_method_reached_by_a_dotted_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(UnsafePickleError, match=r"numpy\.ndarray\.tofile"):
        load_pickle(tmp_path / "x.pkl")


def test_persistent_references_are_refused(tmp_path: Path) -> None:
    class Referring(pickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return "elsewhere" if obj == "here" else None

    buffer = io.BytesIO()
    Referring(buffer).dump(["here"])
    (tmp_path / "x.pkl").write_bytes(buffer.getvalue())
    with pytest.raises(UnsafePickleError, match="elsewhere"):
        load_pickle(tmp_path / "x.pkl")


def test_bytes_of_protocol_2_go_through_no_other_codec(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"c_codecs\nencode\n(Vx\nVidna\ntR.")
    with pytest.raises(DatasetError, match="'idna', not as latin1"):
        load_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2, 3])[:-2], b"\x80\x04}", b"(lp0\nI1\n"])
def test_what_is_no_intact_pickle(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.pkl is not an intact pickle"):
        load_pickle(path)


class Elements:
    """Pickles as a numpy.dtype declared to be something else."""

    def __init__(self, code: str, *structure: object, flags: int = 0) -> None:
        self.reduced = (np.dtype, (code, False, True), (3, "|", *structure, flags))

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


class Hostile:
    """Pickles as an array, or with `scalar` as one number, of these elements and these bytes."""

    def __init__(self, elements: Elements, content: object, *, scalar: bool = False) -> None:
        reduced = (np.float32(1) if scalar else np.zeros(1)).__reduce__()
        array = (*reduced[:2], (1, (1,), elements, False, content))
        self.reduced: tuple[object, ...] = (reduced[0], (elements, content)) if scalar else array

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


ADDRESS = b"A" * 8


@pytest.mark.parametrize(
    "value",
    [
        Hostile(Elements("O8", None, None, None, -1, -1), ADDRESS),
        Hostile(Elements("O8", None, None, None, -1, -1), ADDRESS, scalar=True),
        Hostile(Elements("V8", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1), ADDRESS),
        Hostile(Elements("V8", None, ("a",), {"a": (np.dtype("S8"), 1 << 40)}, 8, 1), ADDRESS),
        Hostile(Elements("S8", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1), ADDRESS),
        Hostile(Elements("f8", (np.dtype("O"), (1,)), None, None, -1, -1), ADDRESS),
        Hostile(Elements("S8", None, None, None, 1 << 40, 1), ADDRESS),
    ],
)
def test_addresses_in_a_pickle_are_never_followed(tmp_path: Path, value: object) -> None:
    # NumPy takes these over unchecked, and reads at that address as soon as somebody looks at the array.
    path = written(tmp_path / "x.pkl", [value], 2)
    with pytest.raises(DatasetError, match=r"x\.pkl is not an intact pickle"):
        load_pickle(path)


def test_no_array_is_laid_over_bytes_of_a_pickle(tmp_path: Path) -> None:
    path = written(tmp_path / "x.pkl", Call(np.ndarray, (1,), "O8", ADDRESS))
    with pytest.raises(DatasetError, match=r"x\.pkl is not an intact pickle"):
        load_pickle(path)


@pytest.mark.parametrize("value", [np.zeros(2, "M8[s]"), np.zeros(2, [("a", "f4")]), np.zeros(2, "V3")])
def test_arrays_of_neither_numbers_nor_texts_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(DatasetError, match=r"an array of elements '[MV].*', neither numbers nor strings"):
        load_pickle(written(tmp_path / "x.pkl", value))


def test_arrays_that_were_read_reach_worker_processes(tmp_path: Path) -> None:
    read = load_pickle(written(tmp_path / "x.pkl", np.array([[1.5, 2.5]], np.float16), 2))
    again = pickle.loads(pickle.dumps(read))  # noqa: S301 - written just now
    assert again.tolist() == [[1.5, 2.5]]
    assert again.dtype == np.float16


def test_absent_files(tmp_path: Path) -> None:
    for load in (load_pickle, load_pth):
        with pytest.raises(DatasetError, match=r"There is no file .*nowhere"):
            load(tmp_path / "nowhere")


def test_tensors_are_read_from_pth(tmp_path: Path) -> None:
    value = {"2d": {"a": torch.arange(3.0)}, "n": 1}
    torch.save(value, tmp_path / "x.pth")
    read = load_pth(tmp_path / "x.pth")
    assert isinstance(read, dict)
    assert read["2d"]["a"].tolist() == [0, 1, 2]


def test_pth_with_anything_else_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    torch.save({"2d": Call(os.system, f"touch {marker}")}, tmp_path / "x.pth")
    with pytest.raises(UnsafePickleError, match=r"x\.pth .* safely: it asks for posix\.system\. Nothing .* executed"):
        load_pth(tmp_path / "x.pth")
    assert not marker.exists()


def test_no_message_advises_to_read_a_pth_unrestricted(tmp_path: Path) -> None:
    torch.save({"2d": np.zeros(2)}, tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps({"2d": 1}))
    for name, said in (("x.pth", r"it asks for numpy\.\S*_reconstruct\. "), ("y.pth", "it is not a PyTorch file")):
        with pytest.raises(UnsafePickleError, match=said) as caught:
            load_pth(tmp_path / name)
        assert "weights_only" not in str(caught.value)
        assert "trust" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no file of PyTorch"])
def test_what_is_no_intact_pth(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.pth"):
        load_pth(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [b"c" + b"m" * 10**6 + b"\nname\n.", b"cos\n" + b"n" * 10**6 + b"\n."])
def test_refusals_quote_little_of_a_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DatasetError) as raised:
        load_pickle(tmp_path / "x.pkl")
    assert len(str(raised.value)) < 700


def test_keys_of_another_checkpoint_are_shortened(tmp_path: Path) -> None:
    torch.save({"k" * 10**6: [1]}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError) as raised:
        load_checkpoint(tmp_path / "x.pth")
    assert len(str(raised.value)) < 500
