/** How finely a range is asked for, as Grafana reckons (`@grafana/data` rangeUtil.roundInterval). */

export const SCRAPE_MS = 15_000; // the stack's sample interval, `timeInterval` of the data source
const MOST_STEPS = 11_000; // Prometheus refuses more

const ROUNDS = [
  [10, 1], [15, 10], [35, 20], [75, 50], [150, 100], [350, 200], [750, 500], [1500, 1000], [3500, 2000], [7500, 5000],
  [12_500, 10_000], [17_500, 15_000], [25_000, 20_000], [45_000, 30_000], [90_000, 60_000], [210_000, 120_000],
  [450_000, 300_000], [750_000, 600_000], [1_050_000, 900_000], [1_500_000, 1_200_000], [2_700_000, 1_800_000],
  [5_400_000, 3_600_000], [9_000_000, 7_200_000], [16_200_000, 10_800_000], [32_400_000, 21_600_000],
  [86_400_000, 43_200_000], [604_800_000, 86_400_000], [1_814_400_000, 604_800_000], [3_628_800_000, 2_592_000_000],
];

const rounded = (ms) => (ROUNDS.find(([limit]) => ms < limit) ?? [0, 31_536_000_000])[1];

/**
 * The step of a query.
 * @param {import("./range.js").Range} range
 * @param {number} points about how many the panel can show
 * @param {number} [least] milliseconds
 */
export function interval(range, points, least = SCRAPE_MS) {
  const length = range.to - range.from;
  const step = Math.max(rounded(length / Math.max(points, 1)), least);
  return Math.max(step, Math.ceil(length / MOST_STEPS / 1000) * 1000);
}

/** `$__rate_interval`: at least four scrapes. */
export const rateInterval = (step) => Math.max(step + SCRAPE_MS, 4 * SCRAPE_MS);

const FINE_MS = 60_000;

/**
 * The moments of a query: whole steps, so that each refresh asks for the same ones and lines stand still. Fine steps
 * end at the range's end instead: what has just happened is worth more there than a line that stands still.
 */
export function aligned(range, step) {
  const to = step > FINE_MS ? Math.floor(range.to / step) * step : Math.floor(range.to / 1000) * 1000;
  return { from: to - Math.ceil((to - range.from) / step) * step, to };
}

/** Milliseconds as PromQL writes a duration. */
export function duration(ms) {
  for (const [size, unit] of [[86_400_000, "d"], [3_600_000, "h"], [60_000, "m"], [1000, "s"]]) {
    if (ms % size === 0 && ms >= size) return `${ms / size}${unit}`;
  }
  return `${Math.round(ms)}ms`;
}
