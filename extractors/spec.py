"""Everything that defines the values of a feature space, apart from the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class ExtractorSpec:
    """Sampling, preprocessing and feature dimension of one extractor.

    - `frames_per_second`: frames sampled per second of video.
    - `frames_per_clip`: consecutive frames per row of features; clips do not overlap.
    - `short_side_pixels`: size of the shorter side after scaling.
    - `centre_crop`: whether the central square of that size is cropped.
    - `pixel_divisor`, `mean`, `std`: a value v in 0..255 of channel c becomes (v / pixel_divisor - mean[c]) / std[c],
      channels in RGB order.
    - `feature_dim`: vector dimension.

    Raises ValueError for invalid values.
    """

    name: str
    frames_per_second: int
    frames_per_clip: int
    short_side_pixels: int
    centre_crop: bool
    pixel_divisor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    feature_dim: int

    def __post_init__(self) -> None:
        for field in ("frames_per_second", "frames_per_clip", "short_side_pixels", "feature_dim"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{self.name}: {field} must be a whole number of at least 1, not {value!r}")
        for field in ("mean", "std"):
            value = getattr(self, field)
            if not isinstance(value, tuple) or len(value) != len("RGB"):
                raise ValueError(f"{self.name}: {field} must be a tuple of three numbers, not {value!r}")
        if self.pixel_divisor <= 0 or min(self.std) <= 0:
            raise ValueError(f"{self.name}: pixel_divisor and std must be positive")

    @property
    def seconds_per_row(self) -> float:
        """Seconds of video per row."""
        return self.frames_per_clip / self.frames_per_second

    def scaled_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels after scaling, the longer side rounded down.

        The rule of the published extractor: int(long * short_side / short).
        """
        if height < 1 or width < 1:
            raise ValueError(f"a frame of {width} x {height} pixels cannot be scaled")
        side = self.short_side_pixels
        if height >= width:
            return int(height * side / width), side
        return side, int(width * side / height)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels of the network's input for a frame of that size."""
        side = self.short_side_pixels
        return (side, side) if self.centre_crop else self.scaled_size(height, width)

    def definition(self) -> dict[str, object]:
        """Return the fields as JSON values, for a fingerprint."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
