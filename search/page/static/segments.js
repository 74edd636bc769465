// @ts-check
// Plays a video that the browser cannot: the server makes segments of it, which are joined here on the video's own time line.
import { segment, playing } from "./server.js";

const AHEAD_SECONDS = 25;
const KEPT_BEHIND_SECONDS = 40;

/** @typedef {import("./server.js").Plan} Plan */

/** @type {typeof MediaSource | undefined} */
const Source = window.MediaSource ?? /** @type {any} */ (window).ManagedMediaSource;

/**
 * Name the codecs of a segment out of its first boxes, as MediaSource wants to be told.
 * @param {ArrayBuffer} bytes
 */
function mediaType(bytes) {
  const text = new TextDecoder("latin1").decode(bytes.slice(0, 16_384));
  const at = text.indexOf("avcC");
  if (at < 0) throw new Error("The server's video segment has no video stream.");
  const profile = [...new Uint8Array(bytes, at + 5, 3)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `video/mp4; codecs="avc1.${profile}${text.includes("mp4a") ? ",mp4a.40.2" : ""}"`;
}

/** @type {(target: EventTarget, name: string, signal: AbortSignal) => Promise<unknown>} */
const ended = (target, name, signal) =>
  new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")), { once: true });
  });

class Joined {
  /**
   * @param {HTMLVideoElement} video
   * @param {string} key
   * @param {Plan} plan
   * @param {string} delivery
   * @param {AbortSignal} signal
   * @param {MediaSource} source
   */
  constructor(video, key, plan, delivery, signal, source) {
    this.video = video;
    this.key = key;
    this.plan = plan;
    this.delivery = delivery;
    this.signal = signal;
    this.source = source;
    /** @type {SourceBuffer | null} */
    this.buffer = null;
    // Segments are joined in their order, without gaps: `first` up to but not including `next` are there.
    this.first = 0;
    this.next = 0;
    this.last = Math.ceil(plan.duration_seconds / plan.segment_seconds) - 1;
  }

  /**
   * Begin to play at a second; resolves when that second is there.
   * @param {number} seconds
   */
  async begin(seconds) {
    const address = URL.createObjectURL(this.source);
    if (!window.MediaSource) this.video.disableRemotePlayback = true;
    this.video.src = address;
    await ended(this.source, "sourceopen", this.signal);
    URL.revokeObjectURL(address);
    this.source.duration = this.plan.duration_seconds;
    this.first = this.next = this.segmentAt(seconds);
    await this.add();
    this.video.currentTime = seconds;
  }

  /** @param {number} seconds */
  segmentAt(seconds) {
    return Math.min(this.last, Math.max(0, Math.floor(seconds / this.plan.segment_seconds)));
  }

  async add() {
    const number = this.next;
    const bytes = await segment(this.key, this.delivery, number, this.signal);
    this.buffer ??= this.source.addSourceBuffer(mediaType(bytes));
    const buffer = this.buffer;
    const start = number * this.plan.segment_seconds;
    // Remuxed segments carry the file's own times; transcoded ones begin at 0.
    if (this.delivery === "transcode") buffer.timestampOffset = start;
    await this.changed(buffer, () => buffer.appendBuffer(bytes));
    if (this.video.error || this.source.readyState === "closed") throw new Error("The browser refused a segment of the video.");
    this.next += 1;
    if (number === this.last) this.source.endOfStream();
  }

  /**
   * @param {SourceBuffer} buffer
   * @param {() => void} change
   */
  async changed(buffer, change) {
    const done = ended(buffer, "updateend", this.signal);
    change();
    await done;
  }

  /** Do what the place of the player asks for next; say whether there was anything to do. */
  async step() {
    const buffer = this.buffer;
    if (!buffer) throw new Error("Nothing has begun to play.");
    const now = this.segmentAt(this.video.currentTime);
    if (now < this.first || now > this.next) {
      // After a jump, start again there: with a remuxed segment put before others, a later seek was seen to stall.
      await this.changed(buffer, () => buffer.remove(0, Infinity));
      this.first = this.next = now;
    } else if (this.first < this.segmentAt(this.video.currentTime - KEPT_BEHIND_SECONDS)) {
      this.first += 1;
      await this.changed(buffer, () => buffer.remove(0, this.first * this.plan.segment_seconds));
    }
    const until = this.segmentAt(this.video.currentTime + AHEAD_SECONDS);
    if (this.next > until) return false;
    await this.add();
    return true;
  }

  /** Go on until the player is closed. */
  async follow() {
    while (!this.signal.aborted) {
      if (!(await this.step())) await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

/**
 * Play video `key` in the element from a second on. Rejects when none is possible; `failed` is called with a later error.
 * @param {HTMLVideoElement} video
 * @param {string} key
 * @param {number} seconds
 * @param {{ signal: AbortSignal, failed: (error: Error) => void }} options
 * @returns {Promise<string>} how the segments are delivered
 */
export async function playSegments(video, key, seconds, { signal, failed }) {
  if (!Source) throw new Error("This browser cannot play video segments (it has no MediaSource).");
  const plan = await playing(key, signal);
  /** @type {unknown} */
  let trouble;
  for (const delivery of plan.deliveries) {
    const joined = new Joined(video, key, plan, delivery, signal, new Source());
    try {
      await joined.begin(Math.min(seconds, Math.max(0, plan.duration_seconds - 0.1)));
      joined.follow().catch((error) => signal.aborted || failed(error));
      return delivery;
    } catch (error) {
      if (signal.aborted) throw error;
      trouble = error;
    }
  }
  throw trouble;
}
