// Plays a video that the browser cannot: the server makes segments of it, which are joined here on the video's own time line.
import { segment, playing } from "./server.js";

const AHEAD_SECONDS = 25;
const KEPT_BEHIND_SECONDS = 40;

const Source = window.MediaSource ?? window.ManagedMediaSource;

/** Name the codecs of a segment out of its first boxes, as MediaSource wants to be told. */
function mediaType(bytes) {
  const text = new TextDecoder("latin1").decode(bytes.slice(0, 16_384));
  const at = text.indexOf("avcC");
  if (at < 0) throw new Error("The server's video segment holds no picture.");
  const profile = [...new Uint8Array(bytes, at + 5, 3)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `video/mp4; codecs="avc1.${profile}${text.includes("mp4a") ? ",mp4a.40.2" : ""}"`;
}

const ended = (target, name, signal) =>
  new Promise((resolve, reject) => {
    target.addEventListener(name, resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(new DOMException("left", "AbortError")), { once: true });
  });

class Joined {
  constructor(video, key, plan, delivery, signal) {
    Object.assign(this, { video, key, plan, delivery, signal, buffer: null });
    // Segments are joined in their order, without gaps: `first` up to but not including `next` are there.
    Object.assign(this, { first: 0, next: 0 });
    this.last = Math.ceil(plan.duration_seconds / plan.segment_seconds) - 1;
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
    this.first = this.next = this.segmentAt(seconds);
    await this.add();
    this.video.currentTime = seconds;
  }

  segmentAt(seconds) {
    return Math.min(this.last, Math.max(0, Math.floor(seconds / this.plan.segment_seconds)));
  }

  async add() {
    const number = this.next;
    const bytes = await segment(this.key, this.delivery, number, this.signal);
    if (!this.buffer) {
      this.buffer = this.source.addSourceBuffer(mediaType(bytes));
    }
    const start = number * this.plan.segment_seconds;
    // Remuxed segments carry the file's own times; transcoded ones begin at 0.
    if (this.delivery === "transcode") this.buffer.timestampOffset = start;
    await this.changed(() => this.buffer.appendBuffer(bytes));
    if (this.video.error || this.source.readyState === "closed") throw new Error("The browser refused a segment of the video.");
    this.next += 1;
    if (number === this.last) this.source.endOfStream();
  }

  async changed(change) {
    const done = ended(this.buffer, "updateend", this.signal);
    change();
    await done;
  }

  /** Do what the place of the player asks for next; say whether there was anything to do. */
  async step() {
    const now = this.segmentAt(this.video.currentTime);
    if (now < this.first || now > this.next) {
      // After a jump, start again there: with a remuxed segment put before others, a later seek was seen to stall.
      await this.changed(() => this.buffer.remove(0, Infinity));
      this.first = this.next = now;
    } else if (this.first < this.segmentAt(this.video.currentTime - KEPT_BEHIND_SECONDS)) {
      this.first += 1;
      await this.changed(() => this.buffer.remove(0, this.first * this.plan.segment_seconds));
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

/** Play video `key` in the element from a second on. Rejects when none is possible; `failed` is called with a later error. */
export async function playSegments(video, key, seconds, { signal, failed }) {
  if (!Source) throw new Error("This browser cannot join segments of video (it has no MediaSource).");
  const plan = await playing(key, signal);
  let trouble;
  for (const delivery of plan.deliveries) {
    const joined = new Joined(video, key, plan, delivery, signal);
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
