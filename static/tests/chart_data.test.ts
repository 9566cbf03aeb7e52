import { describe, expect, it } from "vitest";

import type { LiveBar } from "../src/bus";
import {
  applyBar,
  decimalsOf,
  indexAt,
  inOrder,
  isRangeUseful,
  onBar,
  phaseAt,
  readPriceData,
  signed,
  spanOf,
  type BarRow,
} from "../src/chart_data";
import { jumpRowAt } from "../src/chart";
import { faint } from "../src/chart_look";

const HOUR = 3600;
const HOURLY = Array.from({ length: 1000 }, (_, bar) => bar * HOUR);

function barAt(time: number, close: number): LiveBar {
  return { instrument: "i1", time, open: 1, high: 2, low: 1, close, volume: 1, closed: false };
}

it("rows are put in order, and of two with one time the later stays", () => {
  expect(inOrder([[3, "c"], [1, "a"], [3, "d"]])).toEqual([[1, "a"], [3, "d"]]);
});

it("an answer without markers and lines has none", () => {
  expect(readPriceData({ bars: [[1, 1, 1, 1, 1, 1]] })).toEqual({ bars: [[1, 1, 1, 1, 1, 1]], markers: [], lines: [] });
});

describe("a range", () => {
  it("reaches back from the last bar", () => {
    expect(spanOf(HOURLY, "1D")).toEqual({ from: 975 * HOUR, to: 999 * HOUR });
  });

  it("longer than the data is all of it", () => {
    expect(spanOf(HOURLY, "1Y")).toBeNull();
    expect(spanOf(HOURLY, "All")).toBeNull();
    expect(spanOf([], "1D")).toBeNull();
  });

  it("that holds fewer than two bars is of no use", () => {
    const weekly = [0, 7 * 86_400, 14 * 86_400];

    expect(isRangeUseful(weekly, "1D")).toBe(false);
    expect(isRangeUseful(weekly, "1W")).toBe(true);
    expect(isRangeUseful([0], "All")).toBe(false);
  });
});

it.each([
  ["0.01", 2],
  ["0.25", 2],
  ["0.10", 1],
  ["5", 0],
  ["1.0", 0],
  ["1e-8", 8],
])("a tick of %s has %i decimals", (tick, decimals) => {
  expect(decimalsOf(tick)).toBe(decimals);
});

describe("a live bar", () => {
  it("replaces the last one of its time, follows it, or comes too late", () => {
    const bars: BarRow[] = [[0, 1, 1, 1, 1, 1], [HOUR, 1, 1, 1, 1, 1]];

    expect(applyBar(bars, barAt(HOUR, 5))).toBe(true);
    expect(applyBar(bars, barAt(2 * HOUR, 6))).toBe(true);
    expect(applyBar(bars, barAt(HOUR, 7))).toBe(false);
    expect(bars.map(([time, , , , close]) => [time, close])).toEqual([[0, 1], [HOUR, 5], [2 * HOUR, 6]]);
  });

  it("can be the first", () => {
    const bars: BarRow[] = [];

    expect(applyBar(bars, barAt(0, 1))).toBe(true);
    expect(bars.length).toBe(1);
  });
});

it("a time is found at the bar that was open then", () => {
  const times = [0, 10, 20];

  expect([-1, 0, 9, 10, 25].map((time) => indexAt(times, time))).toEqual([-1, 0, 0, 1, 2]);
  expect(onBar(times, 14)).toBe(10);
  expect(onBar(times, -5)).toBeNull();
});

it("a phase lasts until the next begins", () => {
  const phases = [{ from: 0, kind: "in_sample" }, { from: 10, kind: "paper" }] as const;

  expect([-1, 5, 10].map((time) => phaseAt([...phases], time))).toEqual([null, "in_sample", "paper"]);
});

it("a change carries its sign, and nothing is minus zero", () => {
  expect([0.0124, -0.5, 0, -0.00001].map(signed)).toEqual(["+1.24 %", "−50.00 %", "0.00 %", "0.00 %"]);
});

it("a colour is made faint", () => {
  expect(faint("rgb(8, 112, 63)", 0.35)).toBe("rgba(8, 112, 63, 0.35)");
});

describe("a click on a row", () => {
  const frame = Object.assign(document.createElement("figure"), { id: "chart" });
  const row = (attributes: string): HTMLElement => {
    document.body.innerHTML = `<div ${attributes}><span>cell</span><a href="/x/"><b>link</b></a></div>`;
    return document.body.firstElementChild as HTMLElement;
  };

  it("is a jump", () => {
    const target = row('data-jump="7"');

    expect(jumpRowAt(target.querySelector("span"), frame)).toBe(target);
  });

  it("is the link's when it hits the link", () => {
    expect(jumpRowAt(row('data-jump="7"').querySelector("b"), frame)).toBeNull();
  });

  it("is another chart's when it says so", () => {
    expect(jumpRowAt(row('data-jump="7" data-jump-chart="other"'), frame)).toBeNull();
  });
});
