// The player: one video, its timeline, and where in it the other hits lie.
import { playSegments } from "./segments.js";
import { moments, videoAddress } from "./server.js";
import { clock, count, span } from "./words.js";

const HITS_IN_ONE_VIDEO = 50;
const at = (id) => document.getElementById(id);
const dialog = at("player");
const video = at("video");
const note = at("stage-note");

let current = null; // { moment, hits, duration, leave }

function say(text, bad = false) {
  note.textContent = text;
  note.hidden = !text;
  note.classList.toggle("bad", bad);
}

/** Try the file as it is; resolves when there is a picture, rejects when this browser cannot play it. */
function playFile(key, seconds, signal) {
  return new Promise((resolve, reject) => {
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
    say("This browser cannot play the file itself; the server is preparing it.");
    try {
      const failed = (error) => say(`The video stopped. ${error.message}`, true);
      dialog.dataset.delivery = await playSegments(video, key, seconds, { signal, failed });
      say("");
    } catch (error) {
      if (!signal.aborted) say(`This video cannot be played. ${error.message}`, true);
      return;
    }
  }
  video.addEventListener("error", () => say("The video stopped: its file cannot be read further.", true), { signal });
  // A browser may want a click before it makes sound; the video then stands at the right second.
  video.play().catch(() => {});
}

function duration() {
  return Number.isFinite(video.duration) && video.duration > 0 ? video.duration : current.moment.duration_seconds;
}

function drawHits() {
  const length = duration();
  const drawn = current.hits.map((hit, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "hit";
    button.style.left = `${(100 * hit.start_seconds) / length}%`;
    button.style.width = `${(100 * Math.min(hit.end_seconds, length) - 100 * hit.start_seconds) / length}%`;
    button.title = `${span(hit)}${hit.caption ? `: ${hit.caption}` : ""}`;
    button.setAttribute("aria-label", `Hit ${number + 1} of ${current.hits.length}, ${span(hit)}, score ${hit.score.toFixed(2)}`);
    button.addEventListener("click", () => jump(hit.start_seconds));
    return button;
  });
  at("hits").replaceChildren(...drawn);
  at("player-hits").textContent = count(current.hits.length, "hit");
  at("player-end").textContent = clock(length);
  follow();
}

function jump(seconds) {
  video.currentTime = seconds;
  video.play().catch(() => {});
}

function neighbour(step) {
  const now = video.currentTime;
  const starts = current.hits.map((hit) => hit.start_seconds);
  return step > 0 ? starts.find((start) => start > now + 0.5) : starts.findLast((start) => start < now - 1.5);
}

function follow() {
  if (!current) return;
  const now = video.currentTime;
  at("played").style.width = `${(100 * now) / duration()}%`;
  at("player-at").textContent = clock(now);
  const hits = [...at("hits").children];
  current.hits.forEach((hit, number) => hits[number]?.classList.toggle("now", now >= hit.start_seconds && now < hit.end_seconds));
  const here = current.hits.find((hit) => now >= hit.start_seconds && now < hit.end_seconds);
  at("player-caption").textContent = (here ?? current.moment).caption;
  at("next-hit").disabled = neighbour(1) === undefined;
  at("previous-hit").disabled = neighbour(-1) === undefined;
}

/** Open the player at a moment; `question` finds the other hits of its video, `likeAddress` asks for more like it. */
export async function open(moment, { question, likeAddress }) {
  shut();
  const leave = new AbortController();
  current = { moment, hits: [moment], leave };
  at("player-name").textContent = moment.name;
  at("player-like").href = likeAddress(moment);
  dialog.dataset.delivery = "";
  drawHits();
  if (!dialog.open) dialog.showModal();
  video.focus();
  play(moment, leave.signal);
  try {
    const answer = await moments(question, { signal: leave.signal, within: moment.video, most: HITS_IN_ONE_VIDEO });
    const others = answer.moments.filter((hit) => hit.end_seconds <= moment.start_seconds || hit.start_seconds >= moment.end_seconds);
    current.hits = [moment, ...others].sort((one, other) => one.start_seconds - other.start_seconds);
    drawHits();
  } catch (error) {
    if (!leave.signal.aborted) at("player-hits").textContent = `The other hits are not known. ${error.message}`;
  }
}

/** Stop and forget the video. */
export function shut() {
  current?.leave.abort();
  current = null;
  video.removeAttribute("src");
  video.load(); // lets go of the connection
  if (dialog.open) dialog.close();
}

/** Wire the player up; `closed` hears when a person closes it. */
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
    const hits = [...at("hits").children];
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const here = hits.indexOf(document.activeElement);
    if (step && here >= 0) {
      event.preventDefault();
      hits[here + step]?.focus();
    }
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { n: 1, p: -1 }[event.key.toLowerCase()];
    const start = step && current && neighbour(step);
    if (start !== undefined && step) jump(start);
  });
}
