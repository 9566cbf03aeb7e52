// Times, keys, copying, tabs, failures: the small rooms.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { copyFrom, textFor } from "../src/copy";
import { failureText } from "../src/failures";
import { isTyping, KeyReader } from "../src/keys";
import { neighbour, select } from "../src/tabs";
import { choose, GAIN_KEY, THEME_KEY } from "../src/theme";
import { describe as words, showTime, utc } from "../src/times";

const NOW = new Date("2026-11-22T10:00:00Z");
const READER = { locale: "en", timeZone: "Europe/Prague" };

describe("a time", () => {
  it.each([
    ["2026-11-22T09:59:55Z", "just now"],
    ["2026-11-22T09:59:15Z", "45 sec. ago"],
    ["2026-11-22T09:55:30Z", "4 min. ago"],
    ["2026-11-22T07:10:00Z", "2 hr. ago"],
    ["2026-11-22T10:05:00Z", "in 5 min."],
    ["2026-11-20T23:30:00Z", "Nov 21, 00:30"],
    ["2025-11-20T12:00:00Z", "Nov 20, 2025, 13:00"],
  ])("%s reads %s", (at, expected) => {
    expect(words(new Date(at), NOW, READER)).toBe(expected);
  });

  it("says UTC on hover", () => {
    expect(utc(new Date("2026-11-22T09:59:55.123Z"))).toBe("2026-11-22 09:59:55 UTC");
  });

  it("older than its value may be says it is stale and when it was good", () => {
    document.body.innerHTML = '<time datetime="2026-11-22T09:50:00Z" data-stale-after="300"></time>';
    const time = document.querySelector("time") as HTMLTimeElement;

    showTime(time, NOW, READER);

    expect(time.textContent).toBe("stale, last 10 min. ago");
    expect(time.classList.contains("is-stale")).toBe(true);
  });

  it("that is none keeps the server's words", () => {
    document.body.innerHTML = '<time datetime="soon">soon</time>';
    const time = document.querySelector("time") as HTMLTimeElement;

    showTime(time, NOW, READER);

    expect(time.textContent).toBe("soon");
  });
});

describe("keys", () => {
  it("go where g and a letter say", () => {
    const keys = new KeyReader();

    expect([keys.read("g", 0), keys.read("s", 900)]).toEqual([null, { name: "go", letter: "s" }]);
  });

  it("forget g after a while and after one letter", () => {
    const keys = new KeyReader();
    keys.read("g", 0);
    expect(keys.read("s", 1500)).toBeNull();

    keys.read("g", 2000);
    keys.read("s", 2100);
    expect(keys.read("t", 2200)).toBeNull();
  });

  it("open search and help", () => {
    const keys = new KeyReader();

    expect([keys.read("/", 0), keys.read("?", 0), keys.read("x", 0)]).toEqual([{ name: "search" }, { name: "help" }, null]);
  });

  it("belong to a field while one types", () => {
    expect(isTyping(document.createElement("textarea"))).toBe(true);
    expect(isTyping(document.createElement("a"))).toBe(false);
  });
});

describe("copying", () => {
  beforeEach(() => {
    document.body.innerHTML = '<input id="hook" value="https://x/"><pre id="curl"> curl x </pre><button data-copy="#hook">Copy</button>';
  });

  afterEach(() => {
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  const button = (): HTMLElement => document.querySelector("button") as HTMLElement;

  it("takes a field's value, an element's text, or its own", () => {
    expect(textFor(button())).toBe("https://x/");
    button().dataset["copy"] = "#curl";
    expect(textFor(button())).toBe("curl x");
    button().dataset["copyText"] = "own";
    expect(textFor(button())).toBe("own");
  });

  it("says so, and then what it said before, however often it is pressed", async () => {
    vi.useFakeTimers();
    vi.stubGlobal("navigator", { clipboard: { writeText: vi.fn().mockResolvedValue(undefined) } });

    await copyFrom(button());
    await copyFrom(button());
    expect(button().textContent).toBe("Copied");
    vi.advanceTimersByTime(1500);
    expect(button().textContent).toBe("Copy");
  });

  it("selects the text where there is no clipboard", async () => {
    vi.stubGlobal("navigator", {});

    await copyFrom(button());

    expect(button().textContent).toBe("Press Ctrl+C");
  });
});

describe("tabs", () => {
  beforeEach(() => {
    document.body.innerHTML =
      '<div role="tablist"><button role="tab" aria-controls="p1"></button><button role="tab" aria-controls="p2"></button></div><div id="p1"></div><div id="p2" hidden></div>';
  });

  it("go round with the arrows", () => {
    const [first, second] = [...document.querySelectorAll<HTMLElement>("button")] as [HTMLElement, HTMLElement];

    expect(neighbour(second, "ArrowRight")).toBe(first);
    expect(neighbour(first, "ArrowLeft")).toBe(second);
    expect(neighbour(first, "x")).toBeUndefined();
  });

  it("show one panel", () => {
    select(document.querySelectorAll<HTMLElement>("button")[1] as HTMLElement);

    expect(document.getElementById("p1")?.hidden).toBe(true);
    expect(document.getElementById("p2")?.hidden).toBe(false);
  });
});

describe("the theme", () => {
  it("is remembered, and forgotten for the system's", () => {
    choose({ key: THEME_KEY, attribute: "theme", value: "dark" });
    expect([document.documentElement.dataset["theme"], localStorage.getItem(THEME_KEY)]).toEqual(["dark", "dark"]);

    choose({ key: THEME_KEY, attribute: "theme", value: "system" });
    expect([document.documentElement.dataset["theme"], localStorage.getItem(THEME_KEY)]).toEqual([undefined, null]);
  });

  it("leaves the colours of gain alone", () => {
    choose({ key: GAIN_KEY, attribute: "gain", value: "blue-orange" });
    choose({ key: THEME_KEY, attribute: "theme", value: "light" });

    expect(document.documentElement.dataset["gain"]).toBe("blue-orange");
  });
});

it("a failure says what happened, what was kept, and what to quote", () => {
  expect(failureText("get", 503, "r1")).toBe("The server refused (503). What you see is what was there before. Reference: r1");
  expect(failureText("post", 0, null)).toContain("before you send it again");
});
