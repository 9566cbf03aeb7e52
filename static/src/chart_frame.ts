// What every chart's frame does around its canvas: range buttons, the keyboard, the legend, the
// theme, and the words shown when there is nothing to draw.

import type { IChartApi, ISeriesApi, SeriesType, UTCTimestamp } from "lightweight-charts";

import { chartLook, paletteOf, type Palette } from "./chart_look";
import { indexAt, isRangeUseful, RANGES, spanOf, type RangeName } from "./chart_data";

export interface Plot {
  chart: IChartApi;
  series: ISeriesApi<SeriesType>;
  times: () => readonly number[];
  /** The value of the main series at an index, where the crosshair is put. */
  valueAt: (index: number) => number;
  /** Write the legend for the point at an index. */
  legend: (index: number) => void;
  paint: (palette: Palette) => void;
}

export function part(frame: HTMLElement, name: string): HTMLElement {
  const found = frame.querySelector<HTMLElement>(`[data-chart-${name}]`);
  if (!found) throw new Error(`the chart frame has no data-chart-${name}`);
  return found;
}

export function say(frame: HTMLElement, words: string): void {
  const message = part(frame, "message");
  message.textContent = words;
  message.hidden = words === "";
}

/** Give a plot its frame; what is returned takes it away again. */
export function frameUp(frame: HTMLElement, plot: Plot): () => void {
  const canvas = part(frame, "canvas");
  const repaint = (): void => {
    const palette = paletteOf(frame);
    plot.chart.applyOptions(chartLook(palette));
    plot.paint(palette);
  };
  repaint();
  followCrosshair(plot, canvas);
  offerRanges(frame, plot);
  canvas.addEventListener("keydown", (press) => walk(press, plot, canvas));
  document.addEventListener("pinelab:theme", repaint);
  return () => {
    document.removeEventListener("pinelab:theme", repaint);
    plot.chart.remove();
  };
}

/** Without a crosshair the legend shows the last point, so that it reads without hovering. */
function followCrosshair(plot: Plot, canvas: HTMLElement): void {
  plot.chart.subscribeCrosshairMove(({ time, sourceEvent }) => {
    // A mouse takes over from the keyboard; a scroll by the keyboard does not.
    if (sourceEvent) delete canvas.dataset["at"];
    const walked = canvas.dataset["at"];
    if (walked !== undefined) plot.legend(Number(walked));
    else plot.legend(time === undefined ? plot.times().length - 1 : indexAt(plot.times(), Number(time)));
  });
}

function offerRanges(frame: HTMLElement, plot: Plot): void {
  const buttons = [...frame.querySelectorAll<HTMLButtonElement>("button[data-range]")];
  const press = (range: RangeName): void => {
    showRange(plot, range);
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.dataset["range"] === range));
    }
  };
  for (const button of buttons) {
    const range = RANGES.find((name) => name === button.dataset["range"]);
    if (!range) continue;
    button.disabled = !isRangeUseful(plot.times(), range);
    button.addEventListener("click", () => press(range));
  }
  press(firstRange(frame, buttons));
}

function firstRange(frame: HTMLElement, buttons: HTMLButtonElement[]): RangeName {
  const wanted = RANGES.find((name) => name === frame.dataset["range"]) ?? "All";
  const offered = buttons.some((button) => button.dataset["range"] === wanted && !button.disabled);
  return offered ? wanted : "All";
}

export function showRange(plot: Pick<Plot, "chart" | "times">, range: RangeName): void {
  const span = spanOf(plot.times(), range);
  if (!span) return plot.chart.timeScale().fitContent();
  plot.chart.timeScale().setVisibleRange({ from: span.from as UTCTimestamp, to: span.to as UTCTimestamp });
}

/** Put a time in the middle of the chart, at the zoom it has. */
export function centreOn(plot: Pick<Plot, "chart" | "times">, time: number): void {
  const index = indexAt(plot.times(), time);
  const scale = plot.chart.timeScale();
  const visible = scale.getVisibleLogicalRange();
  if (index < 0 || !visible) return;
  const half = Math.min((visible.to - visible.from) / 2, 60);
  scale.setVisibleLogicalRange({ from: index - half, to: index + half });
}

const STEPS: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
const ZOOMS: Record<string, number> = { "+": 0.8, "=": 0.8, "-": 1.25 };

/** Arrows walk from point to point (with Shift by ten), + and - zoom, Esc lets go. */
function walk(press: KeyboardEvent, plot: Plot, canvas: HTMLElement): void {
  const step = STEPS[press.key];
  const zoom = ZOOMS[press.key];
  if (step !== undefined) moveTo(plot, canvas, nextIndex(plot, canvas, press.shiftKey ? step * 10 : step));
  else if (zoom !== undefined) zoomBy(plot.chart, zoom);
  else if (press.key === "Escape") letGo(plot, canvas);
  else return;
  press.preventDefault();
}

function nextIndex(plot: Plot, canvas: HTMLElement, step: number): number {
  const last = plot.times().length - 1;
  const at = Number(canvas.dataset["at"] ?? last);
  return Math.min(last, Math.max(0, at + step));
}

function moveTo(plot: Plot, canvas: HTMLElement, index: number): void {
  const time = plot.times()[index];
  if (time === undefined) return;
  canvas.dataset["at"] = String(index);
  keepVisible(plot.chart, index);
  plot.chart.setCrosshairPosition(plot.valueAt(index), time as UTCTimestamp, plot.series);
  plot.legend(index);
}

function keepVisible(chart: IChartApi, index: number): void {
  const visible = chart.timeScale().getVisibleLogicalRange();
  if (!visible || (index >= visible.from && index <= visible.to)) return;
  const shift = index < visible.from ? index - visible.from - 2 : index - visible.to + 2;
  chart.timeScale().setVisibleLogicalRange({ from: visible.from + shift, to: visible.to + shift });
}

function zoomBy(chart: IChartApi, factor: number): void {
  const visible = chart.timeScale().getVisibleLogicalRange();
  if (!visible) return;
  const from = visible.to - (visible.to - visible.from) * factor;
  chart.timeScale().setVisibleLogicalRange({ from, to: visible.to });
}

function letGo(plot: Plot, canvas: HTMLElement): void {
  delete canvas.dataset["at"];
  plot.chart.clearCrosshairPosition();
  plot.legend(plot.times().length - 1);
}
