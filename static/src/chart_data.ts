// What the chart endpoints answer, and the arithmetic that needs no canvas.

import type { LiveBar } from "./bus";

/** Open time in epoch seconds, then prices in quote currency, then volume in base units. */
export type BarRow = [time: number, open: number, high: number, low: number, close: number, volume: number];

export interface Marker {
  time: number;
  kind: "entry" | "exit" | "rejected";
  side: "buy" | "sell";
  text: string;
  href: string;
}

export interface PriceLine {
  price: number;
  kind: "stop" | "target" | "limit";
  text: string;
}

export interface PriceData {
  bars: BarRow[];
  markers: Marker[];
  lines: PriceLine[];
}

/** Drawdown is a fraction of the peak, zero or negative. */
export type EquityPoint = [time: number, equity: number, drawdown: number];

export type PhaseKind = "in_sample" | "out_of_sample" | "paper" | "live";

export interface EquityData {
  points: EquityPoint[];
  /** The same money, bought and held. */
  hold: [time: number, value: number][];
  phases: { from: number; kind: PhaseKind }[];
}

export const RANGES = ["1D", "1W", "1M", "3M", "1Y", "All"] as const;
export type RangeName = (typeof RANGES)[number];

const DAY_S = 86_400;
const RANGE_S: Record<RangeName, number> = {
  "1D": DAY_S,
  "1W": 7 * DAY_S,
  "1M": 30 * DAY_S,
  "3M": 91 * DAY_S,
  "1Y": 365 * DAY_S,
  All: Infinity,
};

/** The library wants times strictly rising; of two bars with one time the later is right. */
export function inOrder<Row extends [number, ...unknown[]]>(rows: readonly Row[]): Row[] {
  const byTime = new Map(rows.map((row) => [row[0], row]));
  return [...byTime.values()].sort((a, b) => a[0] - b[0]);
}

export function readPriceData(answer: unknown): PriceData {
  const { bars = [], markers = [], lines = [] } = answer as Partial<PriceData>;
  return { bars: inOrder(bars), markers: [...markers].sort((a, b) => a.time - b.time), lines };
}

export function readEquityData(answer: unknown): EquityData {
  const { points = [], hold = [], phases = [] } = answer as Partial<EquityData>;
  return { points: inOrder(points), hold: inOrder(hold), phases: [...phases].sort((a, b) => a.from - b.from) };
}

/** From the last time backwards; null means everything there is. */
export function spanOf(times: readonly number[], range: RangeName): { from: number; to: number } | null {
  const first = times[0];
  const last = times.at(-1);
  if (first === undefined || last === undefined) return null;
  const from = last - RANGE_S[range];
  return from <= first ? null : { from, to: last };
}

/** A range in which fewer than two points lie shows nothing and is not offered. */
export function isRangeUseful(times: readonly number[], range: RangeName): boolean {
  const before = times.at(-2);
  const last = times.at(-1);
  return before !== undefined && last !== undefined && last - RANGE_S[range] <= before;
}

/** Decimals of an instrument's tick: "0.25" has 2, "1e-8" has 8, "5" has none. */
export function decimalsOf(tick: string): number {
  const [mantissa = "", exponent = "0"] = tick.toLowerCase().split("e");
  const written = mantissa.split(".")[1]?.replace(/0+$/, "").length ?? 0;
  return Math.max(0, written - Number(exponent));
}

/** The index of the point at or before a time; -1 before all of them. */
export function indexAt(times: readonly number[], time: number): number {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((times[middle] ?? Infinity) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Put a live bar in its place: a newer one is added, the last one is replaced, an older one ignored. */
export function applyBar(bars: BarRow[], bar: LiveBar): boolean {
  const last = bars.at(-1);
  if (last && bar.time < last[0]) return false;
  const row: BarRow = [bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume];
  if (last?.[0] === bar.time) bars[bars.length - 1] = row;
  else bars.push(row);
  return true;
}

/** Markers sit on bars: one whose second lies inside a bar is drawn on that bar. */
export function onBar(times: readonly number[], time: number): number | null {
  return times[indexAt(times, time)] ?? null;
}

export function phaseAt(phases: EquityData["phases"], time: number): PhaseKind | null {
  return phases.findLast(({ from }) => from <= time)?.kind ?? null;
}

export function signed(fraction: number): string {
  const percent = Math.abs(fraction * 100).toFixed(2);
  // The sign follows what is shown, so that nothing reads "−0.00 %".
  const sign = Number(percent) === 0 ? "" : fraction < 0 ? "−" : "+";
  return `${sign}${percent} %`;
}
