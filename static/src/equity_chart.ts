// Equity with the drawdown beneath it, and buying and holding thin behind.

import { AreaSeries, createChart, LineSeries, type UTCTimestamp } from "lightweight-charts";

import { indexAt, phaseAt, signed, type EquityData, type PhaseKind } from "./chart_data";
import { part, type Plot } from "./chart_frame";
import { toneOf, writeLegend, type LegendValue } from "./chart_legend";
import { faint, timeText, type Palette } from "./chart_look";
import { readerOf } from "./times";

const PHASE_TOKEN: Record<PhaseKind, keyof Palette> = {
  in_sample: "text-3",
  out_of_sample: "accent",
  paper: "warn",
  live: "gain",
};

export class EquityChart implements Plot {
  readonly chart;
  readonly series;
  readonly #drawdown;
  readonly #hold;
  readonly #frame: HTMLElement;
  readonly #data: EquityData;
  readonly #times: number[];

  constructor(frame: HTMLElement, data: EquityData) {
    this.#frame = frame;
    this.#data = data;
    this.#times = data.points.map(([time]) => time);
    this.chart = createChart(part(frame, "canvas"), { autoSize: true, layout: { attributionLogo: false } });
    const quiet = { priceLineVisible: false, lastValueVisible: false } as const;
    this.#hold = this.chart.addSeries(LineSeries, { ...quiet, lineWidth: 1, crosshairMarkerVisible: false });
    this.series = this.chart.addSeries(AreaSeries, {
      lineWidth: 2,
      priceLineVisible: false,
      priceFormat: { type: "custom", minMove: 0.01, formatter: money },
    });
    const percent = (fraction: number): string => signed(fraction);
    this.#drawdown = this.chart.addSeries(
      AreaSeries,
      {
        ...quiet,
        lineWidth: 1,
        // Filled from zero downwards.
        invertFilledArea: true,
        priceFormat: { type: "custom", minMove: 0.0001, formatter: percent },
      },
      1,
    );
    this.chart.panes()[0]?.setStretchFactor(3);
    this.chart.panes()[1]?.setStretchFactor(1);
  }

  times(): readonly number[] {
    return this.#times;
  }

  valueAt(index: number): number {
    return this.#data.points[index]?.[1] ?? 0;
  }

  paint(palette: Palette): void {
    this.#hold.applyOptions({ color: palette["text-3"] });
    this.#hold.setData(this.#data.hold.map(([time, value]) => ({ time: time as UTCTimestamp, value })));
    this.series.applyOptions(area(palette.accent, 0.18));
    this.series.setData(
      this.#data.points.map(([time, value]) => ({
        time: time as UTCTimestamp,
        value,
        ...this.#phaseColours(time, palette),
      })),
    );
    this.#drawdown.applyOptions({
      lineColor: palette.loss,
      topColor: faint(palette.loss, 0.05),
      bottomColor: faint(palette.loss, 0.3),
    });
    this.#drawdown.setData(
      this.#data.points.map(([time, , drawdown]) => ({ time: time as UTCTimestamp, value: drawdown })),
    );
    this.legend(this.#times.length - 1);
  }

  legend(index: number): void {
    const point = this.#data.points[index];
    const first = this.#data.points[0];
    if (!point || !first) return;
    const [time, equity, drawdown] = point;
    const gained = first[1] === 0 ? 0 : equity / first[1] - 1;
    const currency = this.#frame.dataset["currency"] ?? "";
    writeLegend(part(this.#frame, "legend"), [
      { label: "", text: timeText(time, readerOf()) },
      { label: "Equity", text: `${money(equity)} ${currency}`.trim() },
      { label: "", text: signed(gained), tone: toneOf(gained) },
      { label: "Drawdown", text: signed(drawdown), tone: toneOf(drawdown) },
      ...this.#holdValue(time),
      ...this.#phaseValue(time),
    ]);
  }

  #holdValue(time: number): LegendValue[] {
    const held = this.#data.hold[indexAt(this.#data.hold.map(([at]) => at), time)];
    return held ? [{ label: "Buy and hold", text: money(held[1]) }] : [];
  }

  #phaseValue(time: number): LegendValue[] {
    const phase = phaseAt(this.#data.phases, time);
    return phase ? [{ label: "Phase", text: phase.replaceAll("_", " ") }] : [];
  }

  #phaseColours(time: number, palette: Palette) {
    const phase = phaseAt(this.#data.phases, time);
    return phase ? area(palette[PHASE_TOKEN[phase]], 0.18) : {};
  }
}

function area(colour: string, opacity: number) {
  return { lineColor: colour, topColor: faint(colour, opacity), bottomColor: faint(colour, 0.02) };
}

function money(value: number): string {
  return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}
