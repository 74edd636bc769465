"""The responses to each of the page's addresses."""

from __future__ import annotations

import glob
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread
from starlette.responses import JSONResponse, Response

from reeldex.remote_urls import is_url
from reeldex.search.page.ffmpeg_arguments import Delivery
from reeldex.search.page.file_response import FileResponse
from reeldex.search.page.live_index import IndexSnapshot, LiveIndex, video_key
from reeldex.search.page.media import Media
from reeldex.search.page.problems import not_found
from reeldex.search.page.questions import Question, question_of, seconds_of, sentence_of
from reeldex.search.page.request_limits import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from reeldex.search.page.options import PageOptions
    from reeldex.search.page.searcher import KnownVideo, Searcher
    from reeldex.search.results import Moment, SearchResults

_MILLISECONDS = re.compile(r"[0-9]{1,10}")
_SEGMENT_NUMBER = re.compile(r"[0-9]{1,7}")


class Answers:
    """The endpoints over one live index; every method is the endpoint of a route and may raise Problem."""

    def __init__(self, searcher: Searcher, options: PageOptions) -> None:
        self._options = options
        self._live_index = LiveIndex(searcher, options.refresh_seconds)
        self._rate = TokenBucket(options.searches_per_second, options.searches_at_once)
        self._threads = CapacityLimiter(options.search_threads)
        self.media = Media(options)

    async def about(self, _: Request) -> Response:
        """Return the numbers of moments and videos of the index."""
        snapshot = await to_thread.run_sync(self._live_index.fresh_snapshot, limiter=self._threads)
        about = snapshot.searcher.about()
        return _json({"moments": about.moments, "videos": about.videos, "stale": snapshot.stale})

    async def search(self, request: Request) -> Response:
        """Return the moments that match a sentence."""
        sentence = sentence_of(request.query_params, self._options)

        def ask(snapshot: IndexSnapshot, question: Question) -> SearchResults:
            within = _pattern(snapshot, question)
            return snapshot.searcher.search(sentence, question.most, merge=question.merge, videos=within)

        return await self._answered(request, ask)

    async def like(self, request: Request) -> Response:
        """Return moments similar to that of a video at a time."""
        key = request.query_params.get("video", "")
        at_seconds = seconds_of(request.query_params.get("at", ""), "at")

        def ask(snapshot: IndexSnapshot, question: Question) -> SearchResults:
            video_id, within = snapshot.video(key).video_id, _pattern(snapshot, question)
            return snapshot.searcher.like(video_id, at_seconds, question.most, merge=question.merge, videos=within)

        return await self._answered(request, ask)

    async def _answered(self, request: Request, ask: Callable[[IndexSnapshot, Question], SearchResults]) -> Response:
        question = question_of(request.query_params, self._options)
        self._rate.take()

        def answer() -> Mapping[str, object]:
            snapshot = self._live_index.fresh_snapshot()
            results = ask(snapshot, question)
            return {
                "query": results.query,
                "unknown_words": list(results.unknown_words),
                "stale": snapshot.stale,
                "moments": [_moment(snapshot, moment) for moment in results],
            }

        return _json(await to_thread.run_sync(answer, limiter=self._threads))

    async def video(self, request: Request) -> Response:
        """Return a video's file, or a range of it."""
        return await to_thread.run_sync(FileResponse, request, self._file(request)[1])

    async def playing(self, request: Request) -> Response:
        """Return how to deliver a video that the browser cannot play directly."""
        video, path = self._file(request)
        info = await self.media.media_info(path)
        return _json(
            {
                "duration_seconds": info.duration_seconds or video.duration_seconds,
                "segment_seconds": self._options.segment_seconds,
                "deliveries": [delivery.value for delivery in info.deliveries()],
            }
        )

    async def picture(self, request: Request) -> Response:
        """Return the frame of a video at a time."""
        milliseconds = request.path_params["milliseconds"]
        if not _MILLISECONDS.fullmatch(milliseconds):
            raise not_found("A picture is named by a whole number of milliseconds.")
        path = self._file(request)[1]
        return _media(await self.media.picture(path, int(milliseconds) / 1000, _left(request)), "image/jpeg")

    async def segment(self, request: Request) -> Response:
        """Return a video segment in a form that browsers play."""
        number, delivery = request.path_params["number"], request.path_params["delivery"]
        if not _SEGMENT_NUMBER.fullmatch(number) or delivery not in {each.value for each in Delivery}:
            raise not_found("There is no such video segment.")
        video, path = self._file(request)
        content = await self.media.segment(
            path, int(number), Delivery(delivery), video.duration_seconds, _left(request)
        )
        return _media(content, "video/mp4")

    def _file(self, request: Request) -> tuple[KnownVideo, str]:
        video = self._live_index.snapshot.video(request.path_params["key"])
        if not video.path:
            raise not_found("The index has no file of this video: there is nothing to show or play.")
        if is_url(video.path):
            raise not_found("This video is at a URL. The page shows and plays only files of its own machine.")
        return video, video.path


def _pattern(snapshot: IndexSnapshot, question: Question) -> str | None:
    return None if question.within is None else glob.escape(snapshot.video(question.within).video_id)


def _moment(snapshot: IndexSnapshot, moment: Moment) -> dict[str, object]:
    key = video_key(moment.video_id)
    video = snapshot.by_key.get(key)
    return {
        "video": key,
        "name": moment.video_id,
        "start_seconds": moment.start_seconds,
        "end_seconds": moment.end_seconds,
        "score": round(moment.score, 4),
        "caption": moment.caption,
        "duration_seconds": video.duration_seconds if video else moment.end_seconds,
        "playable": bool(video and video.path and not is_url(video.path)),
    }


def _left(request: Request) -> Callable[[], Awaitable[None]]:
    async def left() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return left


def _json(content: Mapping[str, object]) -> Response:
    return JSONResponse(content, headers={"cache-control": "no-store"})


def _media(content: bytes | None, media_type: str) -> Response:
    if content is None:  # the client has disconnected
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return Response(content, media_type=media_type, headers={"cache-control": "private, max-age=3600"})
