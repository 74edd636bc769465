// Plays a video that the browser cannot: the server makes pieces of it, which are joined here on the video's own time line.
import { piece, playing } from "./server.js";

const AHEAD_SECONDS = 25;
const KEPT_BEHIND_SECONDS = 40;

const Source = window.MediaSource ?? window.ManagedMediaSource;

/** Name the codecs of a piece out of its first boxes, as MediaSource wants to be told. */
function mediaType(bytes) {
  const text = new TextDecoder("latin1").decode(bytes.slice(0, 16_384));
  const at = text.indexOf("avcC");
  if (at < 0) throw new Error("The server's piece of video holds no picture.");
  const profile = [...new Uint8Array(bytes, at + 5, 3)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `video/mp4; codecs="avc1.${profile}${text.includes("mp4a") ? ",mp4a.40.2" : ""}"`;
}

const ended = (target, name, signal) =>
  new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")), { once: true });
  });

class Joined {
  constructor(video, key, plan, way, signal) {
    Object.assign(this, { video, key, plan, way, signal, have: new Set(), buffer: null });
    this.last = Math.ceil(plan.duration_seconds / plan.piece_seconds) - 1;
  }

  /** Begin to play at a second; resolves when that second is there. */
  async begin(seconds) {
    this.source = new Source();
    const address = URL.createObjectURL(this.source);
    if (Source !== window.MediaSource) this.video.disableRemotePlayback = true;
    this.video.src = address;
    await ended(this.source, "sourceopen", this.signal);
    URL.revokeObjectURL(address);
    this.source.duration = this.plan.duration_seconds;
    await this.add(this.pieceAt(seconds));
    this.video.currentTime = seconds;
  }

  pieceAt(seconds) {
    return Math.min(this.last, Math.max(0, Math.floor(seconds / this.plan.piece_seconds)));
  }

  async add(number) {
    const bytes = await piece(this.key, this.way, number, this.signal);
    if (!this.buffer) {
      this.buffer = this.source.addSourceBuffer(mediaType(bytes));
    }
    const start = number * this.plan.piece_seconds;
    // Copied pieces carry the file's own times; transcoded ones begin at 0.
    if (this.way === "transcoded") this.buffer.timestampOffset = start;
    const done = ended(this.buffer, "updateend", this.signal);
    this.buffer.appendBuffer(bytes);
    await done;
    if (this.video.error || this.source.readyState === "closed") throw new Error("The browser refused a piece of the video.");
    this.have.add(number);
    if (this.have.has(this.last) && number === this.last && this.source.readyState === "open") this.source.endOfStream();
  }

  /** The next piece that is missing where the player is or will be soon. */
  wanted() {
    const now = this.video.currentTime;
    const until = this.pieceAt(now + AHEAD_SECONDS);
    for (let number = this.pieceAt(now); number <= until; number += 1) if (!this.have.has(number)) return number;
    return -1;
  }

  async forget() {
    const before = Math.floor((this.video.currentTime - KEPT_BEHIND_SECONDS) / this.plan.piece_seconds);
    const after = this.pieceAt(this.video.currentTime + AHEAD_SECONDS) + 2;
    for (const number of [...this.have]) {
      if (number >= before && number <= after) continue;
      const start = number * this.plan.piece_seconds;
      const done = ended(this.buffer, "updateend", this.signal);
      this.buffer.remove(start, Math.min(start + this.plan.piece_seconds, this.source.duration));
      await done;
      this.have.delete(number);
    }
  }

  /** Go on until the player is closed. */
  async follow() {
    while (!this.signal.aborted) {
      const number = this.wanted();
      if (number >= 0) {
        await this.add(number);
        await this.forget();
      } else await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}

/** Play video `key` in the element from a second on. Rejects when there is no way; `failed` hears of later trouble. */
export async function playPieces(video, key, seconds, { signal, failed }) {
  if (!Source) throw new Error("This browser cannot join pieces of video (it has no MediaSource).");
  const plan = await playing(key, signal);
  let trouble;
  for (const way of plan.ways) {
    const joined = new Joined(video, key, plan, way, signal);
    try {
      await joined.begin(Math.min(seconds, Math.max(0, plan.duration_seconds - 0.1)));
      joined.follow().catch((error) => signal.aborted || failed(error));
      return way;
    } catch (error) {
      if (signal.aborted) throw error;
      trouble = error;
    }
  }
  throw trouble;
}
