// @ts-check
// The page: a query in the address, its results as pictures, and the player over it.
import { at, part, parts } from "./elements.js";
import * as player from "./player.js";
import { about, moments, pictureAddress, RequestError } from "./server.js";
import { count, span } from "./words.js";

/**
 * @typedef {import("./server.js").Moment} Moment
 * @typedef {import("./server.js").Question} Question
 * @typedef {import("./server.js").Answer} Answer
 */

const query = at("query", HTMLInputElement);
const results = at("results");

/** @type {Question | null} */
let asked = null; // the query that is shown, as in the URL
/** @type {Moment[]} */
let found = []; // its moments
let asking = new AbortController();

/** @type {() => Question & { play?: string }} */
const read = () => Object.fromEntries(new URLSearchParams(location.search));
/** @param {Record<string, string>} question */
const write = (question) => `/?${new URLSearchParams(question)}`;
/** @param {Moment} moment */
const place = (moment) => `${moment.video}@${moment.start_seconds}`;

/** @param {Moment} moment */
function likeAddress(moment) {
  const middle = (moment.start_seconds + moment.end_seconds) / 2;
  return write({ like: `${moment.video}@${Number(middle.toFixed(3))}`, name: moment.name });
}

/** @param {Record<string, string>} question */
function go(question) {
  history.pushState(null, "", write(question));
  show();
}

/**
 * @param {string} title
 * @param {string} text
 * @param {{ bad?: boolean, extra?: HTMLElement[] }} [options]
 */
function message(title, text, { bad = false, extra = [] } = {}) {
  const heading = document.createElement("h2");
  heading.textContent = title;
  const body = document.createElement("p");
  body.textContent = text;
  at("message").replaceChildren(heading, body, ...extra);
  at("message").classList.toggle("bad", bad);
  at("message").hidden = false;
}

function welcome() {
  const keys = document.createElement("ul");
  keys.className = "keys";
  for (const [key, what] of [["/", "search"], ["← ↑ → ↓", "select"], ["Enter", "play"], ["Esc", "close"]]) {
    const line = document.createElement("li");
    const name = document.createElement("kbd");
    name.textContent = key;
    line.append(name, ` ${what}`);
    keys.append(line);
  }
  message("Search your videos", "Describe a scene. You get the videos and timestamps that match.", { extra: [keys] });
}

function waiting() {
  at("status").textContent = "Searching…";
  results.setAttribute("aria-busy", "true");
  const cards = Array.from({ length: 8 }, () => {
    const card = document.createElement("li");
    card.className = "card waiting";
    card.setAttribute("aria-hidden", "true");
    const [picture, words] = ["picture", "words"].map((name) => {
      const element = document.createElement("span");
      element.className = name;
      return element;
    });
    words.append(document.createElement("span"), document.createElement("span"));
    card.append(picture, words);
    return card;
  });
  results.replaceChildren(...cards);
}

/** @param {Moment} moment @param {HTMLElement} holder */
function pictureOf(moment, holder) {
  const picture = part(holder, "img", HTMLImageElement);
  const middle = (moment.start_seconds + moment.end_seconds) / 2;
  const tries = [middle, moment.start_seconds].map((seconds) => pictureAddress(moment.video, seconds));
  const next = () => {
    const address = tries.shift();
    if (address) picture.src = address;
    else holder.classList.add("failed");
  };
  picture.addEventListener("load", () => holder.classList.add("shown"));
  picture.addEventListener("error", next);
  if (moment.playable) next();
  else holder.classList.add("failed");
}

/** @param {Moment} moment */
function card(moment) {
  const item = part(document.importNode(at("card", HTMLTemplateElement).content, true), ".card");
  const open = part(item, ".open", HTMLButtonElement);
  part(item, ".name").textContent = moment.name;
  part(item, ".name").title = moment.name;
  part(item, ".span").textContent = span(moment);
  part(item, ".score").textContent = moment.score.toFixed(2);
  part(item, ".score").title = "Similarity: 1 is a perfect match, 0 is unrelated";
  part(item, ".caption").textContent = moment.caption;
  open.setAttribute("aria-label", `${moment.name}, ${span(moment)}, score ${moment.score.toFixed(2)}. ${moment.caption}`);
  open.disabled = !moment.playable;
  open.addEventListener("click", () => go({ ...asked, play: place(moment) }));
  const like = part(item, ".like", HTMLAnchorElement);
  like.href = likeAddress(moment);
  like.setAttribute("aria-label", `More like ${moment.name}, ${span(moment)}`);
  pictureOf(moment, part(item, ".picture"));
  return item;
}

/** @param {Answer} answer */
function notice(answer) {
  const parts = [];
  if (answer.unknown_words.length) {
    const names = answer.unknown_words.map((word) => `“${word}”`).join(", ");
    parts.push(`${names} ${answer.unknown_words.length === 1 ? "is" : "are"} not in the vocabulary and ${answer.unknown_words.length === 1 ? "was" : "were"} ignored.`);
  }
  if (answer.stale) parts.push(`A newer index could not be opened: ${answer.stale}`);
  at("notice").textContent = parts.join(" ");
  at("notice").hidden = !parts.length;
}

/** @param {Question} question @param {Answer} answer */
function shown(question, answer) {
  found = answer.moments;
  results.replaceChildren(...found.map(card));
  notice(answer);
  const what = document.createElement("strong");
  what.textContent = (question.like ? question.name ?? "this moment" : question.q) ?? "";
  at("status").replaceChildren(`${count(found.length, "moment")} ${question.like ? "like" : "for"} `, what);
  if (!found.length) message("No results", "No moment in the index matches. Try other words.");
}

/** @param {Question} question */
async function ask(question) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  at("message").hidden = true;
  at("notice").hidden = true;
  waiting();
  try {
    const answer = await moments(question, { signal });
    if (!signal.aborted) shown(question, answer);
  } catch (error) {
    if (signal.aborted) return;
    found = [];
    results.replaceChildren();
    at("status").textContent = "";
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Try again";
    again.addEventListener("click", () => ask(question));
    const status = error instanceof RequestError ? error.status : 0;
    const badRequest = status >= 400 && status < 500 && status !== 429;
    if (error instanceof RequestError && error.code === "unknown_words") message("No results: none of these words are in the vocabulary", "Try other words.", { bad: true });
    else message(badRequest ? "Invalid query" : "The search failed", error instanceof Error ? error.message : String(error), { bad: true, extra: badRequest ? [] : [again] });
  } finally {
    if (!signal.aborted) results.removeAttribute("aria-busy");
  }
}

/** Show what the address says. */
async function show() {
  const { play, ...question } = read();
  const nothing = !question.q?.trim() && !question.like;
  const same = asked && JSON.stringify(asked) === JSON.stringify(question);
  if (!same) {
    asked = question;
    query.value = question.q ?? "";
    document.title = nothing ? "reeldex" : `${question.q ?? `Like ${question.name ?? "a moment"}`} · reeldex`;
    window.scrollTo(0, 0);
    player.shut();
    if (nothing) {
      asking.abort();
      found = [];
      results.replaceChildren();
      at("status").textContent = "";
      at("notice").hidden = true;
      welcome();
    } else await ask(question);
  }
  const moment = play && found.find((each) => place(each) === play);
  if (moment) player.open(moment, { question, likeAddress });
  else player.shut();
}

function columns() {
  const cards = parts(results, ".card");
  const next = cards.findIndex((each) => each.offsetTop > cards[0].offsetTop);
  return next < 0 ? cards.length : next;
}

/** @param {KeyboardEvent} event */
function arrows(event) {
  const cards = parts(results, ".open:not(:disabled)");
  const chosen = event.target instanceof Element ? event.target.closest(".card") : null;
  const here = cards.findIndex((open) => chosen?.contains(open));
  const step = new Map([
    ["ArrowRight", 1],
    ["ArrowLeft", -1],
    ["ArrowDown", columns()],
    ["ArrowUp", -columns()],
    ["Home", -here],
    ["End", cards.length - 1 - here],
  ]).get(event.key);
  if (here < 0 || step === undefined) return;
  event.preventDefault();
  const to = here + step;
  if (to < 0 && event.key === "ArrowUp") query.focus();
  else cards[Math.min(cards.length - 1, Math.max(0, to))].focus();
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const sentence = query.value.trim();
  if (!sentence) return query.focus();
  asked = null; // submitting the same words again searches again
  return go({ q: sentence });
});
query.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown") return;
  event.preventDefault();
  parts(results, ".open")[0]?.focus();
});
results.addEventListener("keydown", arrows);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || at("player", HTMLDialogElement).open || event.ctrlKey || event.metaKey || event.target === query) return;
  event.preventDefault();
  query.focus();
  query.select();
});
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element && event.target.closest('a[href^="/"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  show();
});
window.addEventListener("popstate", show);

player.ready(() => {
  const { play, ...question } = read();
  const opened = play;
  go(question);
  const moment = found.find((each) => place(each) === opened);
  if (moment) parts(results.children[found.indexOf(moment)], ".open")[0]?.focus();
});
show();
about().then(
  (index) => (at("index-size").textContent = `${count(index.moments, "moment")} in ${count(index.videos, "video")}`),
  () => (at("index-size").textContent = ""),
);
