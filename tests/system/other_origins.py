"""Pages of other origins that try what they can against a server of ours, in a real browser that its owner uses."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Each attempt ends with what the page got to know: an answer, or the error.
_ATTEMPTS = """async ({ target, run }) => {
  const body = JSON.stringify(run.body), seen = {};
  const attempt = async (name, action) => {
    const late = new Promise((resolve) => setTimeout(resolve, 5000, "nothing"));
    try { seen[name] = await Promise.race([action(), late]); } catch (error) { seen[name] = "error"; }
  };
  const told = async (response) => `${response.type} ${response.status} ${await response.text()}`;
  for (const credentials of ["include", "omit"]) {
    await attempt(`text/plain, no-cors, ${credentials}`, async () => told(await fetch(target + run.path, {
      method: "POST", mode: "no-cors", credentials, headers: { "Content-Type": "text/plain" }, body })));
    await attempt(`JSON, ${credentials}`, async () => told(await fetch(target + run.path, {
      method: "POST", credentials, headers: { "Content-Type": "application/json" }, body })));
    await attempt(`read, ${credentials}`, async () => told(await fetch(target + "/api/admin/version",
      { credentials })));
    await attempt(`read, no-cors, ${credentials}`, async () => told(await fetch(target + "/api/admin/version",
      { mode: "no-cors", credentials })));
  }
  await attempt("beacon", async () => {
    navigator.sendBeacon(target + run.path, new Blob([body], { type: "text/plain" })); return "sent"; });
  for (const kind of ["text/plain", "application/x-www-form-urlencoded"]) {
    await attempt(`form, ${kind}`, async () => {
      const frame = document.createElement("iframe");
      frame.name = `frame-${kind}`;
      const form = document.createElement("form");
      Object.assign(form, { method: "POST", action: target + run.path, enctype: kind, target: frame.name });
      const field = document.createElement("input");
      field.name = body.slice(0, -1) + ', "x": "'; field.value = '"}';
      form.append(field); document.body.append(frame, form);
      const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
      form.submit(); await loaded; return "sent";
    });
  }
  for (const protocols of [[], ["prefect"]]) {
    await attempt(`websocket ${protocols}`, () => new Promise((resolve, reject) => {
      const socket = new WebSocket(target.replace("http", "ws") + "/api/events/out", protocols);
      socket.onopen = () => { socket.send(JSON.stringify({ type: "auth", token: null })); };
      socket.onmessage = (message) => resolve(`heard ${message.data}`);
      socket.onclose = () => resolve("closed");
      socket.onerror = reject;
    }));
  }
  for (const [kind, path] of [["img", "/v2/ico/favicon-32x32.png"], ["script", "/api/admin/version"]]) {
    await attempt(kind, () => new Promise((resolve, reject) => {
      const element = document.createElement(kind);
      element.onload = () => resolve("loaded"); element.onerror = reject;
      element.src = target + path; document.body.append(element);
    }));
  }
  await attempt("frame", async () => {
    const frame = document.createElement("iframe");
    frame.src = target + "/v2/deployments"; document.body.append(frame);
    await new Promise((resolve) => frame.addEventListener("load", resolve));
    return frame.contentDocument ? frame.contentDocument.title : "another origin's";
  });
  return seen;
}"""


def attempts(page: Page, target: str, path: str, body: dict[str, Any]) -> dict[str, str]:
    """Have the open page try everything against `target`, a POST of `body` among it; return what it saw of each."""
    seen: dict[str, str] = page.evaluate(_ATTEMPTS, {"target": target, "run": {"path": path, "body": body}})
    return seen


@contextmanager
def other_site() -> Iterator[int]:
    """Serve an empty page to every name of this machine; gives the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = b"<!DOCTYPE html><html><head><title>another site</title></head><body></body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
