"""The fingerprint of a feature space: everything that defines its values, as JSON, for comparison by a store."""

from __future__ import annotations

from typing import Any

from reeldex.extractors.options import DecodeOptions, Precision
from reeldex.extractors.spec import ExtractorSpec

DECODE = "decode"
"""The key of the options of decoding."""


def fingerprint(spec: ExtractorSpec, weights_sha256: str, precision: Precision) -> dict[str, Any]:
    """Return the fingerprint of the features that `spec` defines, with weights of that SHA-256.

    fp16, bf16 and TF32 count as one class, `half`; `precision` is the resolved one, not AUTO.
    """
    return {
        "extractor": spec.definition(),
        "weights": {"sha256": weights_sha256},
        "rows": {"normalisation": "l2", "dtype": "float16"},
        "precision": "float32" if precision is Precision.FP32 else "half",
    }


def decode_fingerprint(decode: DecodeOptions) -> dict[str, Any]:
    """Return what the fingerprint says of decoding: nothing if all options are at their defaults.

    Features that were extracted before there were such options thus have the same fingerprint.
    """
    return {DECODE: definition} if (definition := decode.definition()) else {}
