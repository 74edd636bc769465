"""The search page: a small web application over an open index. It listens on loopback by default.

- Application: `serve` (the server), `app` (routes and error responses), `answers` (endpoints), `questions` (checked
  query parameters), `problems` (error responses), `request_limits`, `options`, `static/` (HTML, CSS, JavaScript).
- Index: `live_index` (reloads a rebuilt index), `searcher` (what the page needs of an index).
- Video: `media` (pictures and segments), `ffmpeg_arguments`, `ffmpeg_runs`, `disk_cache`, `single_flight`,
  `file_response` and `byte_ranges` (files over HTTP).
- Access, also for the Prefect server: `request_guard` (the middleware), `request_source` (host and origin),
  `access_secret`.
"""
