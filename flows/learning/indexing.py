"""One build of the index of moments, from the configuration to its report."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reeldex.devices import device_name
from reeldex.errors import UsageError
from reeldex.flows.config.pipeline import PipelineConfig
from reeldex.flows.execution.errors import infrastructure_errors
from reeldex.flows.learning.indexing_progress import OnVideos
from reeldex.flows.learning.inputs import require_words_of_given, words_of_checkpoint
from reeldex.flows.learning.published_files import checkpoint_path
from reeldex.search.options import IndexOptions
from reeldex.storage.location import store_path
from reeldex.storage.store import FeatureStore

if TYPE_CHECKING:
    from reeldex.search.report import BuildReport

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexingRequest:
    """A store and the checkpoint that embeds its moments; `config.index` gives the index folder and the options.

    With `rebuild`, an index of another checkpoint, store or kind of moments is replaced; otherwise it is an error.
    """

    store: str
    checkpoint: str
    config: PipelineConfig
    rebuild: bool = False


def index_options(config: PipelineConfig) -> IndexOptions:
    """Return the options of the index. Raises DeviceError for a device that is not available."""
    given = {name: getattr(config.index, name) for name in IndexOptions.model_fields}
    return IndexOptions.model_validate({**given, "device": device_name(config.index.device)})


def require_settings(config: PipelineConfig) -> None:
    """Check the settings of the index quickly. Raises as `build_moment_index` does."""
    index_options(config)
    captions = config.index.captions
    if captions is not None and not captions.is_file():
        raise UsageError(f"index.captions: there is no file {captions}. Correct the path, or leave it out.")


def require_indexable(request: IndexingRequest) -> None:
    """Check a request quickly, before any large file is opened. Raises as `build_moment_index` does."""
    from reeldex.embedding.errors import CheckpointError

    FeatureStore(request.store)  # raises if there is none
    require_settings(request.config)
    path = checkpoint_path(request.checkpoint, request.config.weights.folder)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint at {path}. Correct the path, or download or train one.")
    require_words_of_given(request.checkpoint, path, request.config)


@infrastructure_errors("the build of the index", "The index in use stays as it was; run it again.")
def build_moment_index(request: IndexingRequest, on_videos: OnVideos) -> BuildReport:
    """Build the index, or bring it up to date. Raises UsageError, EmbeddingError, StoreError, SearchError."""
    from reeldex.embedding.caption_files import open_captions
    from reeldex.embedding.training.checkpoint import load_checkpoint
    from reeldex.search.build import build_index
    from reeldex.search.request import IndexRequest

    require_indexable(request)
    config = request.config
    path = checkpoint_path(request.checkpoint, config.weights.folder)
    words = words_of_checkpoint(request.checkpoint, path, load_checkpoint(path), config)
    captions = config.index.captions
    wanted = IndexRequest(
        store=store_path(request.store),
        checkpoint=path,
        words=words,
        out=config.index.folder,
        options=index_options(config),
        captions=None if captions is None else open_captions(captions, config.datasets.howto100m.captions_cache),
        rebuild=request.rebuild,
    )
    report = build_index(wanted, on_videos)
    log.info("%s", str(report).partition("\n")[0])
    return report
