// @ts-check
// Requests to the server, and its errors.

/**
 * A moment that answers a question: `video` is the key of its video, `name` its id.
 * @typedef {{ video: string, name: string, start_seconds: number, end_seconds: number, score: number, caption: string,
 *   playable: boolean, duration_seconds: number }} Moment
 * @typedef {{ query: string, unknown_words: string[], stale: string | null, moments: Moment[] }} Answer
 * @typedef {{ moments: number, videos: number, stale: string | null }} About
 *
 * How a video is played that the browser cannot play as it is: in segments, delivered in one of these ways.
 * @typedef {{ duration_seconds: number, segment_seconds: number, deliveries: string[] }} Plan
 *
 * A question, as it stands in the address: a sentence `q`, or `like` "key@seconds" with the `name` of its video.
 * @typedef {{ q?: string, like?: string, name?: string }} Question
 */

export class RequestError extends Error {
  /**
   * @param {string} message
   * @param {string | undefined} code
   * @param {number} status of HTTP; 0 if there was no answer
   */
  constructor(message, code, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/**
 * @param {string} address
 * @param {AbortSignal} [signal]
 */
async function ask(address, signal) {
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(address, { signal });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new RequestError("The server does not answer. Is it still running?", "network", 0);
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  throw new RequestError(body?.error?.message ?? `The server answered with status ${answer.status}.`, body?.error?.code, answer.status);
}

/**
 * @param {string} address
 * @param {AbortSignal} [signal]
 */
const json = async (address, signal) => (await ask(address, signal)).json();

/** @type {() => Promise<About>} */
export const about = () => json("/api/about");
/** @type {(video: string, signal: AbortSignal) => Promise<Plan>} */
export const playing = (video, signal) => json(`/api/playing/${video}`, signal);
/** @param {string} video */
export const videoAddress = (video) => `/videos/${video}`;
/** @param {string} video @param {number} seconds */
export const pictureAddress = (video, seconds) => `/pictures/${video}/${Math.round(seconds * 1000)}.jpg`;

/**
 * Answer a question; `within` names one video.
 * @param {Question} question
 * @param {{ signal?: AbortSignal, within?: string, most?: number }} [options]
 * @returns {Promise<Answer>}
 */
export function moments(question, { signal, within, most } = {}) {
  const asked = new URLSearchParams();
  const [video, at] = (question.like ?? "").split("@");
  if (question.like) {
    asked.set("video", video);
    asked.set("at", at ?? "");
  } else asked.set("q", question.q ?? "");
  if (within) asked.set("in", within);
  if (most) asked.set("k", String(most));
  return json(`/api/${question.like ? "like" : "search"}?${asked}`, signal);
}

/**
 * Fetch one segment; a busy server is asked again a few times.
 * @param {string} video
 * @param {string} delivery
 * @param {number} number
 * @param {AbortSignal} signal
 */
export async function segment(video, delivery, number, signal) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await (await ask(`/segments/${video}/${delivery}/${number}.mp4`, signal)).arrayBuffer();
    } catch (error) {
      if (!(error instanceof RequestError) || error.status !== 503 || attempt === 5) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (attempt + 1)));
    }
  }
}
