// Candles, volume, what was done there (markers) and what is waiting there (lines).

import {
  CandlestickSeries,
  createChart,
  createSeriesMarkers,
  HistogramSeries,
  LineSeries,
  LineStyle,
  type IPriceLine,
  type MouseEventParams,
  type SeriesMarker,
  type Time,
  type UTCTimestamp,
} from "lightweight-charts";

import type { LiveBar } from "./bus";
import {
  applyBar,
  decimalsOf,
  onBar,
  signed,
  type BarRow,
  type Marker,
  type PriceData,
  type PriceLine,
} from "./chart_data";
import { part, type Plot } from "./chart_frame";
import { toneOf, writeLegend } from "./chart_legend";
import { faint, timeText, type Palette } from "./chart_look";
import { HollowMarkers } from "./hollow_markers";
import { readerOf } from "./times";

const VOLUME_SHARE = 0.18;
// More words than this lie over one another; the rows of the page have them all.
const MARKERS_WITH_WORDS = 24;

export class PriceChart implements Plot {
  readonly chart;
  readonly series;
  readonly #volume;
  readonly #path;
  readonly #filled;
  readonly #hollow = new HollowMarkers();
  readonly #frame: HTMLElement;
  readonly #decimals: number;
  #data: PriceData;
  #times: number[];
  #lines: IPriceLine[] = [];
  #palette: Palette | null = null;
  #pathOf: string | undefined;
  /** The legend follows the last bar unless the crosshair is on another one. */
  #followsLast = true;

  constructor(frame: HTMLElement, data: PriceData) {
    this.#frame = frame;
    this.#data = data;
    this.#times = data.bars.map(([time]) => time);
    const tick = frame.dataset["tick"] ?? "0.01";
    this.#decimals = decimalsOf(tick);
    this.chart = createChart(part(frame, "canvas"), { autoSize: true, layout: { attributionLogo: false } });
    this.series = this.chart.addSeries(CandlestickSeries, {
      priceFormat: { type: "custom", minMove: Number(tick), formatter: (price: number) => this.#price(price) },
    });
    this.series.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: VOLUME_SHARE + 0.05 } });
    this.#volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: "volume",
      priceFormat: { type: "volume" },
      priceLineVisible: false,
      lastValueVisible: false,
    });
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 1 - VOLUME_SHARE, bottom: 0 } });
    this.#path = this.chart.addSeries(LineSeries, {
      lineStyle: LineStyle.Dashed,
      lineWidth: 2,
      priceLineVisible: false,
      lastValueVisible: false,
      crosshairMarkerVisible: false,
      autoscaleInfoProvider: () => null,
    });
    this.#filled = createSeriesMarkers(this.series, []);
    this.series.attachPrimitive(this.#hollow);
  }

  times(): readonly number[] {
    return this.#times;
  }

  valueAt(index: number): number {
    return this.#data.bars[index]?.[4] ?? 0;
  }

  /** Draw everything anew in these colours. */
  paint(palette: Palette): void {
    this.#palette = palette;
    this.series.applyOptions({
      upColor: palette.gain,
      downColor: palette.loss,
      wickUpColor: palette.gain,
      wickDownColor: palette.loss,
      borderVisible: false,
    });
    this.#path.applyOptions({ color: palette.accent });
    this.#drawBars(palette);
    this.#drawMarkers(palette);
    this.#drawLines(palette);
    this.legend(this.#data.bars.length - 1);
  }

  replace(data: PriceData): void {
    this.#data = data;
    this.#times = data.bars.map(([time]) => time);
    if (this.#palette) this.paint(this.#palette);
  }

  take(bar: LiveBar): void {
    if (!this.#palette || !applyBar(this.#data.bars, bar)) return;
    if (this.#times.at(-1) !== bar.time) this.#times.push(bar.time);
    const row = this.#data.bars.at(-1) as BarRow;
    this.series.update(candle(row));
    this.#volume.update(volume(row, this.#palette));
    if (this.#followsLast) this.legend(this.#data.bars.length - 1);
  }

  markerAt({ hoveredInfo }: MouseEventParams): Marker | null {
    const id = hoveredInfo?.objectId;
    return typeof id === "string" ? (this.#data.markers[Number(id)] ?? null) : null;
  }

  /** The way from entry to exit, drawn while one of the trade's markers is pointed at. */
  showPath(marker: Marker | null): void {
    // New data moves the crosshair, which asks for the path again: only a change is drawn.
    if (marker?.href === this.#pathOf) return;
    this.#pathOf = marker?.href;
    const points = new Map<number, number>();
    for (const { kind, href, time } of this.#data.markers) {
      const at = marker && kind !== "rejected" && href === marker.href ? onBar(this.#times, time) : null;
      if (at !== null) points.set(at, this.valueAt(this.#times.indexOf(at)));
    }
    const path = [...points].sort(([a], [b]) => a - b);
    this.#path.setData(path.map(([time, value]) => ({ time: time as UTCTimestamp, value })));
  }

  legend(index: number): void {
    const bar = this.#data.bars[index];
    if (!bar) return;
    this.#followsLast = index === this.#data.bars.length - 1;
    const [time, open, high, low, close, traded] = bar;
    const before = this.#data.bars[index - 1]?.[4] ?? open;
    const change = before === 0 ? 0 : close / before - 1;
    writeLegend(part(this.#frame, "legend"), [
      { label: "", text: timeText(time, readerOf()) },
      { label: "O", text: this.#price(open) },
      { label: "H", text: this.#price(high) },
      { label: "L", text: this.#price(low) },
      { label: "C", text: `${this.#price(close)} ${this.#frame.dataset["currency"] ?? ""}`.trim() },
      { label: "", text: signed(change), tone: toneOf(change) },
      { label: "Vol", text: traded.toLocaleString("en", { maximumFractionDigits: 4 }) },
    ]);
  }

  #price(value: number): string {
    return value.toLocaleString("en", fixed(this.#decimals));
  }

  #drawBars(palette: Palette): void {
    this.series.setData(this.#data.bars.map(candle));
    this.#volume.setData(this.#data.bars.map((bar) => volume(bar, palette)));
  }

  #drawMarkers(palette: Palette): void {
    const filled: SeriesMarker<Time>[] = [];
    const hollow: { time: number; price: number; id: string }[] = [];
    for (const [index, marker] of this.#data.markers.entries()) {
      const time = onBar(this.#times, marker.time);
      if (time === null) continue;
      const id = String(index);
      const high = this.#data.bars[this.#times.indexOf(time)]?.[2] ?? 0;
      if (marker.kind === "rejected") hollow.push({ time, price: high, id });
      else filled.push(arrow(marker, time, id, palette));
    }
    if (filled.length > MARKERS_WITH_WORDS) for (const marker of filled) delete marker.text;
    this.#filled.setMarkers(filled);
    this.#hollow.set(hollow, palette["text-2"]);
  }

  #drawLines(palette: Palette): void {
    for (const line of this.#lines) this.series.removePriceLine(line);
    this.#lines = this.#data.lines.map((line) =>
      this.series.createPriceLine({
        price: line.price,
        title: line.text,
        color: lineColour(line, palette),
        lineWidth: 1,
        lineStyle: LineStyle.Dashed,
        axisLabelVisible: true,
      }),
    );
  }
}

function candle([time, open, high, low, close]: BarRow) {
  return { time: time as UTCTimestamp, open, high, low, close };
}

function volume([time, open, , , close, traded]: BarRow, palette: Palette) {
  const color = faint(close >= open ? palette.gain : palette.loss, 0.35);
  return { time: time as UTCTimestamp, value: traded, color };
}

/** An entry points up from below its bar, an exit down from above, whatever the side. */
function arrow(marker: Marker, time: number, id: string, palette: Palette): SeriesMarker<Time> {
  const entry = marker.kind === "entry";
  return {
    time: time as UTCTimestamp,
    position: entry ? "belowBar" : "aboveBar",
    shape: entry ? "arrowUp" : "arrowDown",
    color: entry ? palette.accent : palette["text-1"],
    text: marker.text,
    id,
  };
}

function lineColour({ kind }: PriceLine, palette: Palette): string {
  return { stop: palette.loss, target: palette.gain, limit: palette.accent }[kind];
}

function fixed(decimals: number): Intl.NumberFormatOptions {
  return { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
}
