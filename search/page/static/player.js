// @ts-check
// The player: one video, its timeline, and the positions of its other hits.
import { at, parts } from "./elements.js";
import { playSegments } from "./segments.js";
import { moments, videoAddress } from "./server.js";
import { clock, count, span } from "./words.js";

const HITS_IN_ONE_VIDEO = 50;
const dialog = at("player", HTMLDialogElement);
const video = at("video", HTMLVideoElement);
const note = at("stage-note");

/** @typedef {import("./server.js").Moment} Moment */

/**
 * What is open: the moment that was chosen, the hits of its video, and how to leave it.
 * @type {{ moment: Moment, hits: Moment[], leave: AbortController } | null}
 */
let current = null;

/** @param {string} text */
function say(text, bad = false) {
  note.textContent = text;
  note.hidden = !text;
  note.classList.toggle("bad", bad);
}

/**
 * Try the file as it is; resolves when there is a picture, rejects when this browser cannot play it.
 * @param {string} key
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @returns {Promise<unknown>}
 */
function playFile(key, seconds, signal) {
  return new Promise((resolve, reject) => {
    /** @type {(name: string, heard: (event: Event) => void) => void} */
    const listen = (name, heard) => video.addEventListener(name, heard, { signal, once: true });
    listen("error", () => reject(new Error(video.error?.message || "not playable")));
    listen("loadedmetadata", () => {
      // Sound alone: the picture's codec is unknown to this browser.
      if (!video.videoWidth) return reject(new Error("no picture"));
      video.currentTime = Math.min(seconds, Math.max(0, video.duration - 0.1));
    });
    listen("seeked", resolve);
    video.src = videoAddress(key);
  });
}

/** @param {Moment} moment @param {AbortSignal} signal */
async function play(moment, signal) {
  const { video: key, start_seconds: seconds } = moment;
  say("");
  const file = new AbortController();
  signal.addEventListener("abort", () => file.abort());
  try {
    await playFile(key, seconds, file.signal);
    dialog.dataset.delivery = "file";
  } catch {
    file.abort();
    if (signal.aborted) return;
    say("This browser cannot play this format. The server is converting it.");
    try {
      /** @param {Error} error */
      const failed = (error) => say(`Playback stopped. ${error.message}`, true);
      dialog.dataset.delivery = await playSegments(video, key, seconds, { signal, failed });
      say("");
    } catch (error) {
      if (!signal.aborted) say(`This video cannot be played. ${error instanceof Error ? error.message : error}`, true);
      return;
    }
  }
  video.addEventListener("error", () => say("Playback stopped: the rest of the file cannot be read.", true), { signal });
  // A browser may want a click before it makes sound; the video then stands at the right second.
  video.play().catch(() => {});
}

function duration() {
  if (Number.isFinite(video.duration) && video.duration > 0) return video.duration;
  return current?.moment.duration_seconds ?? 0;
}

function drawHits() {
  if (!current) return;
  const { hits } = current;
  const length = duration();
  const drawn = hits.map((hit, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "hit";
    button.style.left = `${(100 * hit.start_seconds) / length}%`;
    button.style.width = `${(100 * Math.min(hit.end_seconds, length) - 100 * hit.start_seconds) / length}%`;
    button.title = `${span(hit)}${hit.caption ? `: ${hit.caption}` : ""}`;
    button.setAttribute("aria-label", `Hit ${number + 1} of ${hits.length}, ${span(hit)}, score ${hit.score.toFixed(2)}`);
    button.addEventListener("click", () => jump(hit.start_seconds));
    return button;
  });
  at("hits").replaceChildren(...drawn);
  at("player-hits").textContent = count(hits.length, "hit");
  at("player-end").textContent = clock(length);
  follow();
}

/** @param {number | undefined} seconds */
function jump(seconds) {
  if (seconds === undefined) return;
  video.currentTime = seconds;
  video.play().catch(() => {});
}

/** @param {number} step */
function neighbour(step) {
  const now = video.currentTime;
  const starts = current?.hits.map((hit) => hit.start_seconds) ?? [];
  return step > 0 ? starts.find((start) => start > now + 0.5) : starts.findLast((start) => start < now - 1.5);
}

function follow() {
  if (!current) return;
  const now = video.currentTime;
  at("played").style.width = `${(100 * now) / duration()}%`;
  at("player-at").textContent = clock(now);
  const hits = at("hits").children;
  for (const [number, hit] of current.hits.entries()) {
    hits[number]?.classList.toggle("now", now >= hit.start_seconds && now < hit.end_seconds);
  }
  const here = current.hits.find((hit) => now >= hit.start_seconds && now < hit.end_seconds);
  at("player-caption").textContent = (here ?? current.moment).caption;
  at("next-hit", HTMLButtonElement).disabled = neighbour(1) === undefined;
  at("previous-hit", HTMLButtonElement).disabled = neighbour(-1) === undefined;
}

/**
 * Open the player at a moment; `question` finds the other hits of its video, `likeAddress` asks for more like it.
 * @param {Moment} moment
 * @param {{ question: import("./server.js").Question, likeAddress: (moment: Moment) => string }} options
 */
export async function open(moment, { question, likeAddress }) {
  shut();
  const leave = new AbortController();
  const opened = { moment, hits: [moment], leave };
  current = opened;
  at("player-name").textContent = moment.name;
  at("player-like", HTMLAnchorElement).href = likeAddress(moment);
  dialog.dataset.delivery = "";
  drawHits();
  if (!dialog.open) dialog.showModal();
  video.focus();
  play(moment, leave.signal);
  try {
    const answer = await moments(question, { signal: leave.signal, within: moment.video, most: HITS_IN_ONE_VIDEO });
    const others = answer.moments.filter((hit) => hit.end_seconds <= moment.start_seconds || hit.start_seconds >= moment.end_seconds);
    opened.hits = [moment, ...others].sort((one, other) => one.start_seconds - other.start_seconds);
    drawHits();
  } catch (error) {
    if (!leave.signal.aborted) at("player-hits").textContent = `The other hits could not be loaded. ${error instanceof Error ? error.message : error}`;
  }
}

/** Stop and forget the video. */
export function shut() {
  current?.leave.abort();
  current = null;
  video.removeAttribute("src");
  video.load(); // releases the connection
  if (dialog.open) dialog.close();
}

/**
 * Wire the player up; `closed` is called when a person closes it.
 * @param {() => void} closed
 */
export function ready(closed) {
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    closed();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && closed());
  at("player-close").addEventListener("click", closed);
  video.addEventListener("timeupdate", follow);
  video.addEventListener("seeking", follow);
  video.addEventListener("durationchange", () => current && drawHits());
  at("track").addEventListener("click", (event) => {
    const box = at("track").getBoundingClientRect();
    jump(((event.clientX - box.left) / box.width) * duration());
  });
  at("next-hit").addEventListener("click", () => jump(neighbour(1)));
  at("previous-hit").addEventListener("click", () => jump(neighbour(-1)));
  at("timeline").addEventListener("keydown", (event) => {
    const hits = parts(at("hits"), ".hit");
    const step = new Map([["ArrowRight", 1], ["ArrowLeft", -1]]).get(event.key);
    const here = hits.findIndex((hit) => hit.contains(document.activeElement));
    if (step && here >= 0) {
      event.preventDefault();
      hits[here + step]?.focus();
    }
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = new Map([["n", 1], ["p", -1]]).get(event.key.toLowerCase());
    if (step && current) jump(neighbour(step));
  });
}
