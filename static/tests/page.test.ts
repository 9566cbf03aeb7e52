// What the page does with live events: regions, feed, state, changed values.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Bus, type LiveEvent } from "../src/bus";
import { markChanges, valuesIn } from "../src/changes";
import { followFeeds } from "../src/feed";
import { followRegions } from "../src/regions";
import { followState, stateText } from "../src/status";

const EVENT: LiveEvent = {
  seq: 8,
  kind: "order.filled",
  subject: "order",
  id: "8c1e",
  at: "2026-01-01T10:00:00Z",
  text: "Bought 0.5 BTCUSD at 64,250.5",
  payload: { mode: "paper" },
};

let bus: Bus;

beforeEach(() => {
  vi.useFakeTimers();
  bus = new Bus();
});

afterEach(() => {
  vi.useRealTimers();
});

function refreshes(selector: string): () => number {
  let count = 0;
  document.querySelector(selector)?.addEventListener("live", () => (count += 1));
  return () => count;
}

describe("a live region", () => {
  beforeEach(() => {
    document.body.innerHTML = '<div id="a" data-live="order position"></div><div id="b" data-live="reorder"></div>';
    followRegions(bus, document);
  });

  it("refreshes for its subjects and for no others", () => {
    const [a, b] = [refreshes("#a"), refreshes("#b")];

    bus.emit("event", EVENT);
    vi.advanceTimersByTime(80);

    expect([a(), b()]).toEqual([1, 0]);
  });

  it("refreshes once for what arrives within 80 ms", () => {
    const a = refreshes("#a");

    for (let burst = 0; burst < 5; burst += 1) bus.emit("event", EVENT);
    vi.advanceTimersByTime(79);
    expect(a()).toBe(0);
    vi.advanceTimersByTime(1);
    expect(a()).toBe(1);
  });

  it("is not starved by a stream of events", () => {
    const a = refreshes("#a");

    for (let event = 0; event < 20; event += 1) {
      bus.emit("event", EVENT);
      vi.advanceTimersByTime(40);
    }

    expect(a()).toBeGreaterThan(5);
  });

  it("refreshes once after the line was lost, whatever its subjects", () => {
    const [a, b] = [refreshes("#a"), refreshes("#b")];

    bus.emit("resumed", null);
    vi.advanceTimersByTime(80);

    expect([a(), b()]).toEqual([1, 1]);
  });
});

describe("the feed", () => {
  let feed: HTMLElement;

  beforeEach(() => {
    document.body.innerHTML =
      '<div><p data-feed-empty></p><ol data-live-feed data-max="3" data-href-order="/orders/{id}/" data-href-job="https://elsewhere/{id}" hidden></ol></div>';
    feed = document.querySelector("ol") as HTMLElement;
    followFeeds(bus, document);
  });

  it("puts the newest first, with a link to its subject and its mode", () => {
    bus.emit("event", EVENT);
    bus.emit("event", { ...EVENT, seq: 9, text: "newer" });

    const first = feed.firstElementChild;
    expect(first?.querySelector("a")?.textContent).toBe("newer");
    expect(first?.querySelector("a")?.getAttribute("href")).toBe("/orders/8c1e/");
    expect(first?.querySelector(".badge")?.textContent).toBe("Paper");
    expect(feed.hidden).toBe(false);
    expect(document.querySelector<HTMLElement>("[data-feed-empty]")?.hidden).toBe(true);
  });

  it("writes text, never markup", () => {
    bus.emit("event", { ...EVENT, text: '<img src=x onerror="alert(1)">' });

    expect(feed.querySelector("img")).toBeNull();
    expect(feed.querySelector("a")?.textContent).toContain("<img");
  });

  it("lets no id leave its place in the address", () => {
    bus.emit("event", { ...EVENT, id: "../../logout?x=" });

    expect(feed.querySelector("a")?.getAttribute("href")).toBe("/orders/..%2F..%2Flogout%3Fx%3D/");
  });

  it("links only into this site, and only subjects it knows", () => {
    bus.emit("event", { ...EVENT, subject: "job" });
    bus.emit("event", { ...EVENT, seq: 9, subject: "novelty" });

    expect(feed.children.length).toBe(2);
    expect(feed.querySelector("a")).toBeNull();
  });

  it("shows an event once that the server had rendered already", () => {
    feed.innerHTML = '<li data-seq="8"></li>';

    bus.emit("event", EVENT);

    expect(feed.children.length).toBe(1);
  });

  it("keeps no more rows than it was told", () => {
    for (let seq = 1; seq <= 5; seq += 1) bus.emit("event", { ...EVENT, seq });

    expect([...feed.children].map((row) => (row as HTMLElement).dataset["seq"])).toEqual(["5", "4", "3"]);
  });
});

it("the top bar says how the line is", () => {
  document.body.innerHTML = '<span data-live-state="x"><span data-live-text></span></span>';
  followState(bus, document);

  bus.emit("state", { name: "signed out" });

  const place = document.querySelector<HTMLElement>("[data-live-state]");
  expect(place?.dataset["liveState"]).toBe("signed-out");
  expect(place?.textContent).toBe("Signed out");
});

it("a stale line says since when, in the reader's zone", () => {
  const state = { name: "stale", since: new Date("2026-01-01T09:32:00Z") } as const;

  expect(stateText(state, { locale: "en", timeZone: "Europe/Prague" })).toBe("Stale since 10:32");
});

it("only values that changed light up", () => {
  document.body.innerHTML = '<b data-value="equity">1</b><b data-value="risk">2</b>';
  const before = valuesIn(document);
  document.body.innerHTML = '<b data-value="equity">3</b><b data-value="risk">2</b><b data-value="new">4</b>';

  markChanges(document, before);

  expect([...document.querySelectorAll(".is-changed")].map((value) => value.textContent)).toEqual(["3"]);
});
