"""Names, kinds and labels of all metrics, and their text form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text form, as Prometheus defines it."""


@dataclass(frozen=True)
class Metric:
    """A metric: a counter only grows, a gauge is a current value. Label values are fixed words of ours.

    `always` are the label values that exist from the start, so that a rate can be computed of the first event.
    """

    name: str
    kind: Literal["counter", "gauge"]
    about: str
    label: str | None = None
    always: tuple[str, ...] = ()

    def sample(self, value: str | None = None) -> str:
        """Return the name of a sample, such as `reeldex_videos_total{outcome="ok"}`."""
        if (value is None) != (self.label is None):
            raise ValueError(f"the metric {self.name} has the label {self.label}, and got the value {value!r}")
        return self.name if value is None else f'{self.name}{{{self.label}="{value}"}}'

    @property
    def first_samples(self) -> tuple[str, ...]:
        """The samples that are exported before anything has happened."""
        return tuple(map(self.sample, self.always)) if self.label else (self.sample(),)


VIDEOS = Metric("reeldex_videos_total", "counter", "Videos that have got their outcome.", "outcome", ("ok", "failed"))
FAILURES = Metric("reeldex_failures_total", "counter", "Videos that failed, by the reason in their outcome.", "reason")
VIDEO_SECONDS = Metric("reeldex_video_seconds_total", "counter", "Seconds of video that have been decoded.")
DECODE_SECONDS = Metric(
    "reeldex_decode_seconds_total", "counter", "Seconds that decoders have worked, summed over decoders in parallel."
)
DEVICE_SECONDS = Metric("reeldex_device_seconds_total", "counter", "Seconds of waiting for the networks.")
WAITING_SECONDS = Metric("reeldex_waiting_seconds_total", "counter", "Seconds of waiting for decoded frames.")
FETCHING_SECONDS = Metric(
    "reeldex_fetching_seconds_total", "counter", "Seconds of that waiting, because videos were still being fetched."
)
SHARDS = Metric(
    "reeldex_shards_total", "counter", "Shards that are done, or were lost to a fault.", "outcome", ("done", "lost")
)
RUNS = Metric("reeldex_runs", "gauge", "Runs that are working now.")
SHARDS_RUNNING = Metric("reeldex_shards_running", "gauge", "Shards that are being worked on.")
SHARDS_WAITING = Metric("reeldex_shards_waiting", "gauge", "Shards of current runs that have not started.")
VIDEOS_WAITING = Metric("reeldex_videos_waiting", "gauge", "Videos of current runs without an outcome.")
QUEUE_DEPTH = Metric(
    "reeldex_decoded_queue_depth",
    "gauge",
    "Decoded chunks that wait for the device: near 0, decoding limits the speed.",
)
METRICS = {
    each.name: each
    for each in (
        VIDEOS,
        FAILURES,
        VIDEO_SECONDS,
        DECODE_SECONDS,
        DEVICE_SECONDS,
        WAITING_SECONDS,
        FETCHING_SECONDS,
        SHARDS,
        RUNS,
        SHARDS_RUNNING,
        SHARDS_WAITING,
        VIDEOS_WAITING,
        QUEUE_DEPTH,
    )
}


def exposition(samples: Mapping[str, float]) -> str:
    """Return samples in Prometheus' text form; a metric without a sample has its first ones, with the value 0."""
    lines = []
    for name, metric in METRICS.items():
        values = dict.fromkeys(metric.first_samples, 0.0)
        values |= {sample: value for sample, value in samples.items() if sample.partition("{")[0] == name}
        lines += [f"# HELP {name} {metric.about}", f"# TYPE {name} {metric.kind}"]
        lines += [f"{sample} {value!r}" for sample, value in sorted(values.items())]
    return "\n".join(lines) + "\n"
