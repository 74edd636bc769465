// What the server is asked, and how it says no.

export class Refusal extends Error {
  constructor(message, code, status) {
    super(message);
    Object.assign(this, { code, status });
  }
}

async function ask(address, signal) {
  let answer;
  try {
    answer = await fetch(address, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. Is it still running?", "network", 0);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  throw new Refusal(body?.error?.message ?? `The server answered with status ${answer.status}.`, body?.error?.code, answer.status);
}

const json = async (address, signal) => (await ask(address, signal)).json();

export const about = () => json("/api/about");
export const playing = (video, signal) => json(`/api/playing/${video}`, signal);
export const videoAddress = (video) => `/videos/${video}`;
export const pictureAddress = (video, seconds) => `/pictures/${video}/${Math.round(seconds * 1000)}.jpg`;

/** Answer a question: `{q}` or `{like: "key@seconds"}`; `within` names one video. */
export function moments(question, { signal, within, most } = {}) {
  const asked = new URLSearchParams();
  const [video, at] = (question.like ?? "").split("@");
  if (question.like) {
    asked.set("video", video);
    asked.set("at", at ?? "");
  } else asked.set("q", question.q);
  if (within) asked.set("in", within);
  if (most) asked.set("k", most);
  return json(`/api/${question.like ? "like" : "search"}?${asked}`, signal);
}

/** Fetch one segment; a busy server is asked again a few times. */
export async function segment(video, delivery, number, signal) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await (await ask(`/segments/${video}/${delivery}/${number}.mp4`, signal)).arrayBuffer();
    } catch (error) {
      if (error.status !== 503 || attempt === 5) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (attempt + 1)));
    }
  }
}
