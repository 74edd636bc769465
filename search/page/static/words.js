// @ts-check
// Formats numbers for people.

/**
 * 75.4 -> "1:15"; an hour and more as "1:00:15".
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  /** @param {number} number */
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** @param {{ start_seconds: number, end_seconds: number }} moment */
export const span = (moment) => `${clock(moment.start_seconds)} – ${clock(moment.end_seconds)}`;

/** @param {number} number @param {string} what */
export const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
