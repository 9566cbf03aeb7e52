// The live feed: one row per event, newest first, written as text and never as markup.
//
// <ol data-live-feed data-max="50" data-href-signal="/signals/{id}/" data-href-order="...">

import type { Bus, LiveEvent } from "./bus";
import { showTime } from "./times";

const DEFAULT_MAX = 50;
const MODES = ["paper", "backtest", "live"];

export function followFeeds(bus: Bus, root: ParentNode): void {
  bus.on("event", (event) => {
    for (const feed of root.querySelectorAll<HTMLElement>("[data-live-feed]")) prepend(feed, event);
  });
}

export function prepend(feed: HTMLElement, event: LiveEvent): void {
  // The server may have rendered this event into the page before the socket told it.
  if (event.text === "" || feed.querySelector(`[data-seq="${event.seq}"]`)) return;
  feed.prepend(rowOf(feed, event));
  const max = Number(feed.dataset["max"]) || DEFAULT_MAX;
  while (feed.children.length > max) feed.lastElementChild?.remove();
  const empty = feed.parentElement?.querySelector<HTMLElement>("[data-feed-empty]");
  if (empty) empty.hidden = true;
  feed.hidden = false;
}

function rowOf(feed: HTMLElement, event: LiveEvent): HTMLElement {
  const row = document.createElement("li");
  row.className = "feed-row is-changed";
  row.dataset["seq"] = String(event.seq);
  row.append(timeOf(event), textOf(feed, event), ...badgesOf(event));
  return row;
}

function timeOf(event: LiveEvent): HTMLElement {
  const time = document.createElement("time");
  time.dateTime = event.at;
  showTime(time, new Date());
  return time;
}

function textOf(feed: HTMLElement, event: LiveEvent): HTMLElement {
  const href = hrefOf(feed, event);
  if (href === null) {
    const text = document.createElement("span");
    text.textContent = event.text;
    return text;
  }
  const link = document.createElement("a");
  link.href = href;
  link.textContent = event.text;
  return link;
}

function hrefOf(feed: HTMLElement, event: LiveEvent): string | null {
  const pattern = feed.getAttribute(`data-href-${event.subject.replaceAll("_", "-")}`);
  if (!pattern?.startsWith("/") || event.id === "") return null;
  return pattern.replace("{id}", encodeURIComponent(event.id));
}

function badgesOf(event: LiveEvent): HTMLElement[] {
  const mode = event.payload["mode"];
  if (typeof mode !== "string" || !MODES.includes(mode)) return [];
  const badge = document.createElement("span");
  badge.className = `badge badge-${mode}`;
  badge.textContent = mode[0]?.toUpperCase() + mode.slice(1);
  return [badge];
}
