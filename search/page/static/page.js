// The page: a question in the address, its answer as pictures, and the player over it.
import * as player from "./player.js";
import { about, moments, pictureAddress } from "./server.js";
import { count, span } from "./words.js";

const at = (id) => document.getElementById(id);
const query = at("query");
const results = at("results");

let asked = null; // the question that is shown, as it stands in the address
let found = []; // its moments
let asking = new AbortController();

const read = () => Object.fromEntries(new URLSearchParams(location.search));
const write = (question) => `/?${new URLSearchParams(question)}`;
const place = (moment) => `${moment.video}@${moment.start_seconds}`;

function likeAddress(moment) {
  const middle = (moment.start_seconds + moment.end_seconds) / 2;
  return write({ like: `${moment.video}@${Number(middle.toFixed(3))}`, name: moment.name });
}

function go(question) {
  history.pushState(null, "", write(question));
  show();
}

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
  for (const [key, what] of [["/", "search"], ["← ↑ → ↓", "choose"], ["Enter", "watch"], ["Esc", "close"]]) {
    const line = document.createElement("li");
    const name = document.createElement("kbd");
    name.textContent = key;
    line.append(name, ` ${what}`);
    keys.append(line);
  }
  message("What are you looking for?", "Describe a moment in a few words. The answer is the videos and the seconds that show it.", { extra: [keys] });
}

function waiting() {
  at("status").textContent = "Searching…";
  results.setAttribute("aria-busy", "true");
  const cards = Array.from({ length: 8 }, () => {
    const card = document.createElement("li");
    card.className = "card waiting";
    card.setAttribute("aria-hidden", "true");
    for (const name of ["picture", "words"]) {
      const part = document.createElement("span");
      part.className = name;
      card.append(part);
    }
    card.lastChild.append(document.createElement("span"), document.createElement("span"));
    return card;
  });
  results.replaceChildren(...cards);
}

function pictureOf(moment, holder) {
  const picture = holder.querySelector("img");
  const middle = (moment.start_seconds + moment.end_seconds) / 2;
  const tries = [middle, moment.start_seconds].map((seconds) => pictureAddress(moment.video, seconds));
  const next = () => {
    if (tries.length) picture.src = tries.shift();
    else holder.classList.add("failed");
  };
  picture.addEventListener("load", () => holder.classList.add("shown"));
  picture.addEventListener("error", next);
  if (moment.playable) next();
  else holder.classList.add("failed");
}

function card(moment) {
  const item = at("card").content.cloneNode(true).firstElementChild;
  const open = item.querySelector(".open");
  item.querySelector(".name").textContent = moment.name;
  item.querySelector(".name").title = moment.name;
  item.querySelector(".span").textContent = span(moment);
  item.querySelector(".score").textContent = moment.score.toFixed(2);
  item.querySelector(".score").title = "How well it fits: 1 is perfect, 0 is unrelated";
  item.querySelector(".caption").textContent = moment.caption;
  open.setAttribute("aria-label", `${moment.name}, ${span(moment)}, score ${moment.score.toFixed(2)}. ${moment.caption}`);
  open.disabled = !moment.playable;
  open.addEventListener("click", () => go({ ...asked, play: place(moment) }));
  const like = item.querySelector(".like");
  like.href = likeAddress(moment);
  like.setAttribute("aria-label", `More like ${moment.name}, ${span(moment)}`);
  pictureOf(moment, item.querySelector(".picture"));
  return item;
}

function notice(answer) {
  const parts = [];
  if (answer.unknown_words.length) {
    const names = answer.unknown_words.map((word) => `“${word}”`).join(", ");
    parts.push(`${names} ${answer.unknown_words.length === 1 ? "is a word" : "are words"} the index does not know, and did not count.`);
  }
  if (answer.stale) parts.push(`A newer index could not be opened: ${answer.stale}`);
  at("notice").textContent = parts.join(" ");
  at("notice").hidden = !parts.length;
}

function shown(question, answer) {
  found = answer.moments;
  results.replaceChildren(...found.map(card));
  notice(answer);
  const what = document.createElement("strong");
  what.textContent = question.like ? question.name ?? "this moment" : question.q;
  at("status").replaceChildren(`${count(found.length, "moment")} ${question.like ? "like" : "for"} `, what);
  if (!found.length) message("Nothing found", "No moment of the index answers this. Try other words.");
}

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
    const wrongQuestion = error.status >= 400 && error.status < 500 && error.status !== 429;
    message(wrongQuestion ? "That cannot be searched for" : "The search failed", error.message, { bad: true, extra: wrongQuestion ? [] : [again] });
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
  const cards = [...results.children];
  const next = cards.findIndex((each) => each.offsetTop > cards[0].offsetTop);
  return next < 0 ? cards.length : next;
}

function arrows(event) {
  const cards = [...results.querySelectorAll(".open:not(:disabled)")];
  const here = cards.indexOf(event.target.closest(".card")?.querySelector(".open"));
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns(), Home: -here, End: cards.length - 1 - here };
  if (here < 0 || !(event.key in steps)) return;
  event.preventDefault();
  const to = here + steps[event.key];
  if (to < 0 && event.key === "ArrowUp") query.focus();
  else cards[Math.min(cards.length - 1, Math.max(0, to))].focus();
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const sentence = query.value.trim();
  if (!sentence) return query.focus();
  asked = null; // the same words once more are asked once more
  return go({ q: sentence });
});
query.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown") return;
  event.preventDefault();
  results.querySelector(".open")?.focus();
});
results.addEventListener("keydown", arrows);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || at("player").open || event.ctrlKey || event.metaKey || event.target === query) return;
  event.preventDefault();
  query.focus();
  query.select();
});
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="/"]');
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
  if (moment) results.children[found.indexOf(moment)]?.querySelector(".open").focus();
});
show();
about().then(
  (held) => (at("held").textContent = `${count(held.moments, "moment")} in ${count(held.videos, "video")}`),
  () => (at("held").textContent = ""),
);
