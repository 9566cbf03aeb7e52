// Pages with charts: loaded when the first frame comes into view (see seen.ts).

import type { Bus } from "./bus";
import { readEquityData, readPriceData, type Marker, type PriceData } from "./chart_data";
import { centreOn, frameUp, part, say } from "./chart_frame";
import { EquityChart } from "./equity_chart";
import { PriceChart } from "./price_chart";

export interface LiveLine {
  bus: Bus;
  subscribe: (channel: string) => void;
}

type Takedown = () => void;

/** Fill one frame: data-chart="price" with data-bars-url, or "equity" with data-equity-url. */
export async function mount(frame: HTMLElement, line: LiveLine): Promise<void> {
  if (frame.dataset["mounted"]) return;
  frame.dataset["mounted"] = "yes";
  try {
    const takedown =
      frame.dataset["chart"] === "equity" ? await mountEquity(frame) : await mountPrice(frame, line);
    if (takedown) takeDownWhenReplaced(frame, takedown);
  } catch (error) {
    console.error(error);
    offerRetry(frame, line);
  }
}

async function mountEquity(frame: HTMLElement): Promise<Takedown | null> {
  const data = readEquityData(await load(frame.dataset["equityUrl"]));
  if (data.points.length === 0) return nothing(frame, "No equity yet: it begins with the first closed bar.");
  say(frame, "");
  const plot = new EquityChart(frame, data);
  return frameUp(frame, plot);
}

async function mountPrice(frame: HTMLElement, { bus, subscribe }: LiveLine): Promise<Takedown | null> {
  const url = frame.dataset["barsUrl"];
  const instrument = frame.dataset["instrument"];
  const data = readPriceData(await load(url));
  if (data.bars.length === 0) return nothing(frame, "No bars yet for this instrument and interval.");
  say(frame, "");
  const plot = new PriceChart(frame, data);
  const unframe = frameUp(frame, plot);
  const unlink = linkRows(frame, plot);
  const unhear = instrument ? hear(bus, instrument, plot, url) : () => undefined;
  if (instrument) subscribe(`bars:${instrument}`);
  return () => [unhear, unlink, unframe].forEach((undo) => undo());
}

/** Bars have no sequence number: after a lost line the missed ones are fetched again. */
function hear(bus: Bus, instrument: string, plot: PriceChart, url: string | undefined): Takedown {
  const stopBars = bus.on("bar", (bar) => bar.instrument === instrument && plot.take(bar));
  const stopResumed = bus.on("resumed", () => {
    load(url).then(
      (answer: unknown) => plot.replace(readPriceData(answer) satisfies PriceData),
      // The next resumption asks again; what is drawn stays.
      (error: unknown) => console.warn(error),
    );
  });
  return () => {
    stopBars();
    stopResumed();
  };
}

/** Click a row (data-jump="<epoch s>") to see its moment here; click a marker to open its row. */
function linkRows(frame: HTMLElement, plot: PriceChart): Takedown {
  const jump = ({ target }: Event): void => {
    const row = jumpRowAt(target, frame);
    if (!row) return;
    centreOn(plot, Number(row.dataset["jump"]));
    frame.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("click", jump);
  plot.chart.subscribeClick((click) => openRow(plot.markerAt(click)));
  plot.chart.subscribeCrosshairMove((move) => plot.showPath(plot.markerAt(move)));
  return () => document.removeEventListener("click", jump);
}

export function jumpRowAt(target: EventTarget | null, frame: HTMLElement): HTMLElement | null {
  if (!(target instanceof Element)) return null;
  const row = target.closest<HTMLElement>("[data-jump]");
  // A link or a button inside the row has its own meaning.
  const inner = target.closest("a, button, input, summary");
  if (!row || (inner && inner !== row && row.contains(inner))) return null;
  const wanted = row.dataset["jumpChart"];
  return !wanted || wanted === frame.id ? row : null;
}

function openRow(marker: Marker | null): void {
  if (!marker?.href.startsWith("/")) return;
  const row = document.querySelector<HTMLElement>(`[data-jump] a[href="${CSS.escape(marker.href)}"]`);
  if (!row) return location.assign(marker.href);
  const whole = row.closest<HTMLElement>("[data-jump]");
  whole?.classList.add("is-changed");
  row.scrollIntoView({ block: "center" });
  row.focus();
}

async function load(url: string | undefined): Promise<unknown> {
  if (!url) throw new Error("the chart frame names no address for its data");
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

function nothing(frame: HTMLElement, words: string): null {
  say(frame, words);
  return null;
}

function offerRetry(frame: HTMLElement, line: LiveLine): void {
  say(frame, "The chart's data could not be loaded; the rest of the page is not affected. ");
  const again = document.createElement("button");
  again.type = "button";
  again.className = "button button-quiet";
  again.textContent = "Try again";
  again.addEventListener("click", () => {
    delete frame.dataset["mounted"];
    void mount(frame, line);
  });
  part(frame, "message").append(again);
}

/** htmx may swap the frame out: the canvas and its listeners go with it. */
function takeDownWhenReplaced(frame: HTMLElement, takedown: Takedown): void {
  const cleanup = (event: Event): void => {
    if (!(event.target instanceof Element) || !event.target.contains(frame)) return;
    document.removeEventListener("htmx:beforeCleanupElement", cleanup);
    takedown();
  };
  document.addEventListener("htmx:beforeCleanupElement", cleanup);
}
