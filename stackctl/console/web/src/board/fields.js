/** Field configuration: defaults, overrides, and what they make of a value: text, colour, links. */

import { asText } from "../format/numbers.js";
import { formatter, isDate } from "../format/units.js";
import { moment, shortMoment } from "../format/times.js";
import { byIndex, byName, color } from "../lib/colors.js";

const MATCHERS = {
  byName: (field, name) => field.name === name || displayName(field) === name,
  byRegexp: (field, pattern) => new RegExp(pattern.replace(/^\/(.*)\/[a-z]*$/, "$1")).test(displayName(field)),
  byType: (field, type) => field.type === type,
  byFrameRefID: (field, refId, frame) => frame.refId === refId,
};

/** The name a field is shown by. */
export function displayName(field) {
  return field.config?.displayName || field.legend || field.name;
}

/**
 * Give every field its configuration.
 * @param {import("./frames.js").Frame[]} frames
 * @param {{defaults?: any, overrides?: any[]}} fieldConfig
 */
export function configure(frames, fieldConfig = {}) {
  const { defaults = {}, overrides = [] } = fieldConfig;
  for (const frame of frames) {
    for (const field of frame.fields) {
      const own = field.unit ? { unit: field.unit } : field.type === "time" || field.type === "string" ? { unit: undefined } : {};
      field.config = { ...defaults, ...own, custom: { ...defaults.custom } };
      for (const { matcher, properties } of overrides) {
        if (MATCHERS[matcher.id]?.(field, matcher.options, frame)) properties.forEach((property) => set(field.config, property));
      }
    }
  }
  colour(frames, defaults);
  return frames;
}

function set(config, { id, value }) {
  const path = id.split(".");
  const last = path.pop();
  const target = path.reduce((at, key) => (at[key] = { ...at[key] }), config);
  target[last] = value;
}

/** Settle the colour of each number column; those by palette depend on their neighbours. */
function colour(frames, defaults) {
  const fields = frames.flatMap((frame) => frame.fields.filter((field) => field.type === "number"));
  const mode = (field) => field.config.color?.mode ?? defaults.color?.mode ?? "palette-classic";
  const named = fields.filter((field) => mode(field) === "palette-classic-by-name");
  const colours = byName(named.map(displayName));
  named.forEach((field, at) => (field.colour = colours[at]));
  fields.forEach((field, at) => {
    if (mode(field) === "fixed") field.colour = color(field.config.color.fixedColor);
    else if (!field.colour) field.colour = byIndex(at);
  });
}

/**
 * The step of thresholds that a value has reached.
 * @returns {{color: string, value: number|null}|undefined}
 */
export function thresholdOf(value, config) {
  const { mode, steps = [] } = config.thresholds ?? {};
  const at = mode === "percentage" ? (100 * (value - (config.min ?? 0))) / ((config.max ?? 100) - (config.min ?? 0)) : value;
  // The first step is the base, whatever its number: Grafana reads it as minus infinity.
  return steps.filter((step, index) => index === 0 || step.value === null || at >= step.value).at(-1);
}

const CONTINUOUS = {
  "continuous-GrYlRd": ["green", "yellow", "red"],
  "continuous-RdYlGr": ["red", "yellow", "green"],
  "continuous-BlYlRd": ["dark-blue", "super-light-yellow", "dark-red"],
  "continuous-blues": ["super-light-blue", "dark-blue"],
  "continuous-reds": ["super-light-red", "dark-red"],
  "continuous-greens": ["super-light-green", "dark-green"],
};

function valueColour(value, field, mode) {
  const stops = CONTINUOUS[mode];
  if (!stops || value === null) return field.colour;
  const { min = 0, max = 1 } = field.config;
  const at = Math.min(Math.max((value - min) / (max - min || 1), 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  return `color-mix(in oklab, ${color(stops[low])} ${Math.round((1 - (at - low)) * 100)}%, ${color(stops[low + 1])})`;
}

/**
 * A value as a panel shows it.
 * @param {any} value
 * @param {import("./frames.js").Field} field configured
 * @param {number} [adjacent] decimals that neighbours (ticks of an axis) need
 * @returns {{text: string, number: string, suffix: string, prefix: string, color: string, missing: boolean}}
 */
export function display(value, field, adjacent) {
  const { config } = field;
  const mapped = mapping(value, config.mappings);
  const missing = value === null || value === undefined || Number.isNaN(value);
  const mode = config.color?.mode;
  const numeric = typeof value === "number" ? value : null;
  const shade = mapped?.color ? color(mapped.color) : mode === "thresholds" || !mode ? color(thresholdOf(numeric ?? -Infinity, config)?.color) : valueColour(numeric, field, mode);
  const parts = mapped?.text ? { text: mapped.text } : missing ? { text: config.noValue ?? "" } : written(value, field, adjacent);
  return { text: asText(parts), number: parts.text, prefix: parts.prefix ?? "", suffix: parts.suffix ?? "", color: shade, missing: missing && !mapped?.text };
}

function written(value, field, adjacent) {
  const { unit, decimals } = field.config;
  if (field.type === "time" && !isDate(unit)) return { text: (field.brief ? shortMoment : moment)(value) };
  if (field.type === "boolean" || typeof value === "boolean") return { text: value ? "true" : "false" };
  if (typeof value !== "number") return { text: String(value) };
  if (decimals === undefined && adjacent !== undefined && !unit?.startsWith("currency")) return trimmed(formatter(unit)(value, adjacent));
  return formatter(unit)(value, decimals ?? adjacent);
}

function trimmed(parts) {
  const number = Number(parts.text);
  return Number.isNaN(number) || parts.text.includes("e") ? parts : { ...parts, text: String(number) };
}

/** The result of value mappings, the first that fits. */
function mapping(value, mappings = []) {
  for (const { type, options } of mappings) {
    if (type === "value" && Object.hasOwn(options, String(value))) return options[String(value)];
    if (type === "range" && typeof value === "number" && value >= (options.from ?? -Infinity) && value <= (options.to ?? Infinity)) return options.result;
    if (type === "regex" && new RegExp(options.pattern.replace(/^\/(.*)\/[a-z]*$/, "$1")).test(String(value))) return options.result;
    if (type === "special" && special(value, options.match)) return options.result;
  }
  return null;
}

function special(value, match) {
  const isNull = value === null || value === undefined;
  return { null: isNull, nan: Number.isNaN(value), "null+nan": isNull || Number.isNaN(value), true: value === true, false: value === false, empty: value === "" }[match] ?? false;
}
