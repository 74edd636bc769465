"""Options of the extraction: networks, decoding, devices. Cheap to import."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from reeldex.options import Options


class Precision(StrEnum):
    """Arithmetic of the network. AUTO: float32 on a CPU; on CUDA the fastest that is accurate enough."""

    AUTO = "auto"
    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"


class Runtime(StrEnum):
    """The library that computes the networks. AUTO: OpenVINO on a CPU, PyTorch on CUDA."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


class Hwaccel(StrEnum):
    """Who decodes. AUTO: the GPU's hardware decoder as far as it helps, and the CPU."""

    NONE = "none"
    CUDA = "cuda"
    AUTO = "auto"


class WeightsChoice(StrEnum):
    """PRETRAINED: the published weights. RANDOM: untrained weights, for testing."""

    PRETRAINED = "pretrained"
    RANDOM = "random"


class WeightsOptions(Options):
    """Which weights the networks have."""

    weights: Annotated[
        WeightsChoice,
        Field(
            title="Weights",
            description="pretrained: the published weights. random: untrained weights, for testing; the name of the "
            "feature space then ends in `.random`, so that such features cannot be mistaken for real ones.",
        ),
    ] = WeightsChoice.PRETRAINED


class DeviceOptions(Options):
    """The device and the arithmetic of the networks."""

    device: Annotated[
        str,
        Field(
            pattern=r"^(auto|cpu|cuda|cuda:\d+(,cuda:\d+)*)$",
            title="Device",
            description="auto (every CUDA device, or the CPU if there is none), cpu, cuda (all), cuda:N, or several: "
            "cuda:0,cuda:2.",
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        Field(
            title="Precision",
            description="auto: float32 on a CPU; on CUDA the fastest whose features stay within cosine 0.9999 of "
            "float32. Or fp32, and on CUDA tf32, fp16, bf16.",
        ),
    ] = Precision.AUTO
    runtime: Annotated[
        Runtime,
        Field(
            title="Runtime",
            description="Library that runs the networks. auto: openvino on a CPU, torch on CUDA. Features agree within "
            "cosine 0.9999; each outcome records the runtime.",
        ),
    ] = Runtime.AUTO
    batch_rows: Annotated[
        Annotated[int, Field(ge=1, le=4096)] | None,
        Field(title="Clips per batch", description="null: 1 with openvino, 2 with torch on a CPU, 64 on CUDA."),
    ] = None


class NetworkOptions(WeightsOptions, DeviceOptions):
    """How to load an extractor. `device` names one device here."""

    weights_file: Annotated[Path | None, Field(description="A local checkpoint instead of the downloaded one.")] = None
    weights_folder: Annotated[Path | None, Field(description="Folder of downloaded weights.")] = None
    converted_folder: Annotated[Path | None, Field(description="Folder of networks converted for OpenVINO.")] = None


class DecodeLimits(Options):
    """Resource limits of one video; a video that exceeds them counts as failed."""

    timeout_seconds: Annotated[
        float,
        Field(
            gt=0,
            title="Time limit (s)",
            description="Give up on a video after this many seconds of waiting for ffmpeg. Time spent in the networks "
            "does not count.",
        ),
    ] = 1800.0
    max_frame_pixels: Annotated[
        int,
        Field(ge=1, title="Largest frame (pixels)", description="Width x height of a frame, as stored and as scaled."),
    ] = 8192 * 8192
    max_aspect_ratio: Annotated[
        float,
        Field(
            ge=1,
            le=10_000,
            title="Largest aspect ratio",
            description="Longer side / shorter side of a picture. The shorter side is scaled to a fixed size, so that "
            "the network's input, and its memory, grow with this ratio: 32 is 224 x 7168 pixels.",
        ),
    ] = 32.0
    max_gap_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=31_536_000,
            title="Longest still picture (s)",
            description="Longest time that one picture may be shown, as in a slide show. A video that exceeds it has "
            "damaged timestamps or would produce millions of equal rows; it counts as failed (too_large).",
        ),
    ] = 600.0
    ffmpeg_memory_bytes: Annotated[
        int,
        Field(
            ge=1 << 28,
            title="Memory limit of ffmpeg (bytes)",
            description="Address space of each ffmpeg process, also of the search page: several times the used memory, "
            "since threads reserve more than they need. A video that needs more counts as failed (too_large).",
        ),
    ] = 4 << 30


TONE_MAP_DEFINITION = "bt709.knee1"
"""Names the mapping of `tone_map.py` in fingerprints; another mapping gets another name."""


class DecodeOptions(Options):
    """Which picture of a file is seen, and how. Options that differ from their defaults define other features."""

    video_track: Annotated[
        Annotated[int, Field(ge=1, le=1000)] | None,
        Field(
            title="Video track",
            description="Decode this video track of each file, counted from 1. null: the one that players choose "
            "(marked as default; of several the first that is not much smaller; a still picture only if there is "
            "nothing else).",
        ),
    ] = None

    tone_map: Annotated[
        bool,
        Field(
            title="Tone mapping",
            description="Map HDR video (PQ, HLG) to BT.709, the colours of the networks' training data. Without it HDR "
            "video looks flat and dark to the networks, as to the published extractor; outcomes mark it.",
        ),
    ] = False
    square_pixels: Annotated[
        bool,
        Field(
            title="Square pixels",
            description="Stretch pictures with non-square pixels (DV, DVD, anamorphic) to the shape that players show. "
            "Without it they are processed as stored, as by the published extractor.",
        ),
    ] = False

    hwaccel: Annotated[
        Hwaccel,
        Field(
            title="Hardware decoding",
            description="none: ffmpeg decodes on the CPU. cuda: the hardware decoder (NVDEC) of the GPU that runs the "
            "networks decodes the formats that it can. auto: it decodes large videos beside the CPU. Videos it cannot "
            "decode, or reports errors for, are decoded in software. Features are a space of their own: for most "
            "videos they are equal, but not for all.",
        ),
    ] = Hwaccel.NONE

    def definition(self) -> dict[str, Any]:
        """Return what defines features: the options that are not at their defaults, as JSON values.

        With AUTO and CUDA, either the CPU or the hardware decoder may have decoded a video.
        """
        changed = self.model_dump(mode="json", exclude_defaults=True)
        if self.hwaccel is not Hwaccel.NONE:
            changed["hwaccel"] = "nvdec"
        return {**changed, "tone_map": TONE_MAP_DEFINITION} if self.tone_map else changed


class DecoderOptions(Options):
    """Decoding ahead of the networks."""

    decoders: Annotated[
        Annotated[int, Field(ge=1, le=256)] | None,
        Field(
            title="Decoders",
            description="Videos decoded at the same time on each device, ahead of the networks. null: 2 if the CPU "
            "runs the networks; on CUDA one per core, shared among the devices.",
        ),
    ] = None


class EngineOptions(DecoderOptions):
    """Options of the engine: decoders, limits of a video, what is decoded of it, and chunk size."""

    limits: DecodeLimits = DecodeLimits()
    decode: DecodeOptions = DecodeOptions()
    chunk_bytes: Annotated[int, Field(ge=1, description="Bytes of uint8 frames per chunk, per extractor.")] = 4 << 20
