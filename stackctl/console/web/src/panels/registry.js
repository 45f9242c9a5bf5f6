/** Panel kinds by Grafana's name. */

import { draw as bargauge } from "./bargauge.js";
import { draw as gauge } from "./gauge.js";
import { draw as heatmap } from "./heatmap.js";
import { draw as histogram } from "./histogram.js";
import { draw as piechart } from "./pie.js";
import { draw as stat } from "./stat.js";
import { draw as table } from "./table.js";
import { draw as text } from "./text.js";
import { draw as timeseries } from "./timeseries.js";
import { draw as traces } from "./traces.js";

/**
 * @typedef {object} Setup
 * @property {import("../board/frames.js").Frame[]} frames configured
 * @property {any[]} exemplars
 * @property {any} panel Grafana's JSON
 * @property {number} width pixels of the panel's body
 * @property {number} height
 * @property {import("../time/range.js").Range} range
 * @property {number} step milliseconds
 * @property {any} context for links
 * @property {import("../board/annotations.js").Mark[]} marks annotations of the board
 * @property {Record<string, any>} memory what a person chose in the panel, kept while its data changes
 * @property {() => string|null} link address of the panel's first link
 * @property {(range: {from: string, to: string}) => void} onzoom
 * @typedef {Node|{node: Node, mounted?: () => void, destroy?: () => void}} Drawn
 * @typedef {(setup: Setup) => Drawn} Draw
 */

/** @type {Record<string, Draw>} */
export const KINDS = { bargauge, gauge, heatmap, histogram, piechart, stat, table, text, timeseries, traces };

/** Kinds that ask nothing. */
export const SILENT = new Set(["text"]);
