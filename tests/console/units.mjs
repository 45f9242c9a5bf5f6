/**
 * Makes `units.json`, what `@grafana/data` writes for every unit, value and number of decimals; the console's own
 * formats are held against it. Units, values and decimals stay those of the file; their texts are made anew:
 *
 *     npm install --prefix SCRATCH @grafana/data@13.2.3 react@18 react-dom@18
 *     node tests/console/units.mjs SCRATCH > made.json && mv made.json tests/console/units.json
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const require = createRequire(join(resolve(process.argv[2]), "package.json"));
const folder = join(resolve(process.argv[2]), "node_modules", "@grafana", "data");
const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf-8"));
globalThis.navigator ??= { language: "en", languages: ["en"] }; // what it asks of a browser
const part = (name) => require(join(folder, "dist", "cjs", "valueFormats", `${name}.cjs`));
const { getValueFormat } = part("valueFormats");
const { formattedValueToString } = part("baseFormatters");

const known = JSON.parse(readFileSync(new URL("units.json", import.meta.url), "utf-8"));
const { values, decimals } = known;
const textsOf = (unit) => values.flatMap((value) => decimals.map((places) => formattedValueToString(getValueFormat(unit)(value, places))));
const rows = Object.keys(known.texts).map((unit) => `${JSON.stringify(unit)}:${JSON.stringify(textsOf(unit))}`);
const head = JSON.stringify({ oracle: `@grafana/data ${version}, getValueFormat`, values, decimals }).slice(0, -1);
process.stdout.write(`${head},"texts":{\n${rows.join(",\n")}\n}}\n`);
