/** Grafana's unit ids: how a value of each is written. Tests hold the table against `@grafana/data`. */

import { DURATIONS } from "./durations.js";
import { asText, binary, counted, currency, fixedUnit, scaled, si, siOffset, toFixed } from "./numbers.js";
import { moment } from "./times.js";

const SHORT = ["", " K", " Mil", " Bil", " Tri", " Quadr", " Quint", " Sext", " Sept"];

const rows = (ids, make) => Object.fromEntries(Object.entries(ids).map(([id, unit]) => [id, make(unit)]));

/** @type {Record<string, import("./numbers.js").Formatter>} */
const UNITS = {
  none: fixedUnit(""),
  string: (value) => ({ text: `${value}` }),
  short: scaled(1000, SHORT),
  sishort: si(""),
  percent: (value, decimals) => ({ text: toFixed(value, decimals), suffix: "%" }),
  percentunit: (value, decimals) => ({ text: toFixed(100 * value, decimals), suffix: "%" }),
  humidity: fixedUnit("%H"),
  dB: fixedUnit("dB"),
  sci: (value, decimals) => ({ text: value.toExponential(decimals ?? undefined) }),
  locale: (value, decimals) => ({ text: value.toLocaleString(undefined, { maximumFractionDigits: decimals ?? undefined }) }),
  ...DURATIONS,
  ...rows(
    { currencyUSD: "$", currencyGBP: "£", currencyEUR: "€", currencyJPY: "¥", currencyINR: "₹", currencyCHF: "CHF" },
    (symbol) => currency(symbol),
  ),
  ...rows(
    { cps: "c/s", ops: "ops/s", reqps: "req/s", rps: "rd/s", wps: "wr/s", iops: "io/s", eps: "evt/s", mps: "msg/s", recps: "rec/s", rowsps: "rows/s" },
    counted,
  ),
  ...rows({ cpm: "c/m", opm: "ops/m", reqpm: "req/m", rpm: "rd/m", wpm: "wr/m", epm: "evts/m", mpm: "msgs/m" }, counted),
  ...rows({ bytes: "B", bits: "b" }, (unit) => binary(unit)),
  ...rows({ decbytes: "B", decbits: "b", hertz: "Hz", Bps: "B/s", bps: "b/s", pps: "p/s", watt: "W" }, (unit) => si(unit)),
  ...rows({ binBps: "B/s", binbps: "b/s" }, (unit) => binary(unit)),
  ...rows({ kbytes: 1, mbytes: 2, gbytes: 3, tbytes: 4 }, (offset) => binary("B", offset)),
  ...rows({ deckbytes: 1, decmbytes: 2, decgbytes: 3, dectbytes: 4 }, (offset) => si("B", offset)),
  ...rows({ KiBs: 1, MiBs: 2, GiBs: 3 }, (offset) => binary("B/s", offset)),
  ...rows({ KBs: 1, MBs: 2, GBs: 3 }, (offset) => si("B/s", offset)),
  ...rows({ celsius: "°C", fahrenheit: "°F", degree: "°" }, (unit) => fixedUnit(unit)),
  bool: (value) => ({ text: value ? "True" : "False" }),
  bool_yes_no: (value) => ({ text: value ? "Yes" : "No" }),
  bool_on_off: (value) => ({ text: value ? "On" : "Off" }),
};

const DATES = new Set(["dateTimeAsIso", "dateTimeAsIsoNoDateIfToday", "dateTimeAsSystem", "dateTimeAsLocal", "dateTimeAsUS", "dateTimeFromNow"]);

/** True for a unit whose values are moments in milliseconds since the epoch. */
export const isDate = (unit) => DATES.has(unit) || Boolean(unit?.startsWith("time:"));

/**
 * The formatter of a unit id; an unknown id stands behind the number as it is, as in Grafana.
 * @param {string|undefined} id
 * @returns {import("./numbers.js").Formatter}
 */
export function formatter(id) {
  if (!id) return UNITS.none;
  if (Object.hasOwn(UNITS, id)) return UNITS[id];
  if (isDate(id)) return (value) => ({ text: moment(value) });
  const colon = id.indexOf(":");
  const make = colon > 0 && Object.hasOwn(CUSTOM, id.slice(0, colon)) ? CUSTOM[id.slice(0, colon)] : null;
  return make ? make(id.slice(colon + 1)) : fixedUnit(id);
}

/** What stands before the colon of a unit that a board's author made up. */
const CUSTOM = {
  prefix: (unit) => fixedUnit(unit, true),
  suffix: (unit) => fixedUnit(unit),
  count: counted,
  currency: (symbol) => currency(symbol),
  si: (unit) => {
    const offset = siOffset(unit.charAt(0));
    return si(offset === 0 ? unit : unit.slice(1), offset);
  },
  bool: (words) => {
    const [yes, no = "-"] = words.split("/");
    return (value) => ({ text: value ? yes : no });
  },
};

/** A value as text. */
export const format = (value, unit, decimals) => asText(formatter(unit)(value, decimals));
