// What Grafana's own types say about a board, made strict enough to find a wrong word.
//
// Enums become the words that JSON holds, and a panel's `options` and `fieldConfig.defaults.custom`, open maps in the
// published Panel, become those of its kind.
import type * as schema from "@grafana/schema";
import type * as bargauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as gauge from "@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as piechart from "@grafana/schema/dist/esm/raw/composable/piechart/panelcfg/x/PieChartPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as text from "@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Words<T> = T extends string
  ? string extends T ? string : `${T}`
  : T extends Array<infer U> ? Array<Words<U>>
  : T extends object ? { [K in keyof T]: Words<T[K]> }
  : T;

// `value: null` in a threshold is allowed by Grafana, not by us: boards hold no null.
type Plain<T> = Words<T>;

type Fields<Custom> = Omit<schema.FieldConfigSource, "defaults"> & {
  defaults: Omit<schema.FieldConfig, "custom"> & { custom?: Custom };
};
type Target = schema.DataQuery & PrometheusTarget | schema.DataQuery & TempoTarget;
type Source<Type> = { type: Type; uid: string };
// The two query forms are those of the data source plugins, which publish no types.
type PrometheusTarget = {
  datasource: Source<"prometheus">;
  editorMode: "code";
  exemplar: boolean;
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  interval?: string;
  legendFormat: string;
  range: boolean;
};
type TempoTarget = {
  datasource: Source<"tempo">;
  filters: [];
  limit: number;
  query: string;
  queryType: "traceql";
  spss: number;
  tableType: "traces" | "spans";
};
type PanelOf<Type, Options, Custom> = Plain<
  Omit<schema.Panel, "type" | "options" | "fieldConfig" | "targets" | "id" | "title" | "description"> & {
    id: number;
    title: string;
    description: string;
    type: Type;
    options: Options;
    fieldConfig: Fields<Custom>;
    targets: Target[];
  }
>;

export type TimeSeries = PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig>;
export type Stat = PanelOf<"stat", stat.Options, Record<string, never>>;
export type Gauge = PanelOf<"gauge", gauge.Options, Record<string, never>>;
export type BarGauge = PanelOf<"bargauge", bargauge.Options, Record<string, never>>;
export type Table = PanelOf<"table", schema.TableOptions, schema.TableFieldOptions>;
export type PieChart = PanelOf<"piechart", piechart.Options, piechart.FieldConfig>;
export type Heatmap = PanelOf<"heatmap", heatmap.Options, heatmap.FieldConfig>;
export type Text = PanelOf<"text", text.Options, Record<string, never>>;
export type Row = Plain<schema.RowPanel>;
export type Board = Plain<Omit<schema.Dashboard, "panels">>;
