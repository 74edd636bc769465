"""The section `fetch` of `pipeline.yaml`: how videos at URLs are brought to this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from reeldex.options import Options

_GIB = 1 << 30
Host = Annotated[str, Field(pattern=r"^[^\s/:@]+$")]


class FetchConfig(Options):
    """Videos at URLs (`s3://bucket/videos`, `https://host/a.mp4`), which are fetched ahead of the decoders."""

    cache_folder: Annotated[
        Path | None,
        Field(
            title="Folder of fetched videos",
            description="Each fetched video is here until it has been decoded. null: ~/.cache/reeldex/videos or below "
            "XDG_CACHE_HOME.",
        ),
    ] = None
    cache_bytes: Annotated[
        int,
        Field(
            ge=1 << 20,
            title="Size of the cache (bytes)",
            description="Bytes of fetched videos that one worker (one per device) keeps at the same time.",
        ),
    ] = 20 * _GIB
    max_video_bytes: Annotated[
        int,
        Field(
            ge=1,
            title="Largest video (bytes)",
            description="A larger one is not fetched and counts as failed (too_large). At most the size of the cache.",
        ),
    ] = 10 * _GIB
    timeout_seconds: Annotated[
        float,
        Field(
            gt=0,
            title="Time limit of a fetch (s)",
            description="A video that has not arrived after this many seconds counts as failed (timeout).",
        ),
    ] = 3600.0
    downloads: Annotated[
        int, Field(ge=1, le=64, title="Downloads", description="Videos that one worker fetches at the same time.")
    ] = 4
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            title="Retries of a request",
            description="Further attempts after a request that failed at the service or on the way (503, throttling, a "
            "connection that is refused or cut). A download continues where it stopped if the server allows it.",
        ),
    ] = 5
    retry_delay_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=600,
            title="Retry delay of a request (s)",
            description="Delay before the first further attempt; it doubles with each one, up to 60 s.",
        ),
    ] = 1.0
    hosts: Annotated[
        tuple[Host, ...],
        Field(
            title="Hosts",
            description="Hosts from which http:// and https:// videos may be fetched, also after redirects; "
            "`.example.org` stands for all hosts below it. Empty: all, those of the local network included.",
        ),
    ] = ()

    @model_validator(mode="after")
    def _largest_fits(self) -> Self:
        if self.max_video_bytes > self.cache_bytes:
            raise ValueError(
                f"max_video_bytes ({self.max_video_bytes:,}) exceeds cache_bytes ({self.cache_bytes:,}): the largest "
                "video must fit into the cache"
            )
        return self

    def admits_host(self, host: str) -> bool:
        """Whether videos may be fetched from a host of the web."""
        host = host.lower().rstrip(".")
        return not self.hosts or any(
            host == each or (each.startswith(".") and host.endswith(each)) for each in map(str.lower, self.hosts)
        )
