// One theme for every chart, read from the design tokens, and times in the reader's zone.

import {
  ColorType,
  CrosshairMode,
  TickMarkType,
  type ChartOptions,
  type DeepPartial,
  type Time,
} from "lightweight-charts";

import { readerOf, type Reader } from "./times";

const TOKENS = ["surface-1", "surface-2", "text-1", "text-2", "text-3", "line", "accent", "gain", "loss", "warn"] as const;

export type Palette = Record<(typeof TOKENS)[number], string>;

/** The tokens as the canvas needs them: resolved for the theme of the moment. */
export function paletteOf(frame: HTMLElement): Palette {
  const probe = document.createElement("span");
  probe.hidden = true;
  frame.append(probe);
  const colours = TOKENS.map((token) => {
    probe.className = `token-${token}`;
    return [token, getComputedStyle(probe).color];
  });
  probe.remove();
  return Object.fromEntries(colours) as Palette;
}

/** rgb(1, 2, 3) with an opacity. */
export function faint(colour: string, opacity: number): string {
  const [red, green, blue] = colour.match(/[\d.]+/g) ?? [];
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
}

export function chartLook(palette: Palette, reader: Reader = readerOf()): DeepPartial<ChartOptions> {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  return {
    autoSize: true,
    layout: {
      background: { type: ColorType.Solid, color: palette["surface-1"] },
      textColor: palette["text-2"],
      fontFamily: getComputedStyle(document.body).fontFamily,
      fontSize: 12,
      // The library's logo brings an inline <style>; the frame names TradingView in words instead.
      attributionLogo: false,
      panes: { separatorColor: palette.line, separatorHoverColor: faint(palette.accent, 0.2) },
    },
    grid: { vertLines: { visible: false }, horzLines: { color: faint(palette.line, 0.7) } },
    crosshair: {
      mode: CrosshairMode.Magnet,
      vertLine: { color: palette["text-3"], labelBackgroundColor: palette["text-2"] },
      horzLine: { color: palette["text-3"], labelBackgroundColor: palette["text-2"] },
    },
    rightPriceScale: { borderColor: palette.line },
    timeScale: {
      borderColor: palette.line,
      timeVisible: true,
      secondsVisible: false,
      rightOffset: 4,
      tickMarkFormatter: (time: Time, type: TickMarkType) => tickText(Number(time), type, reader),
    },
    localization: { timeFormatter: (time: Time) => timeText(Number(time), reader) },
    kineticScroll: { mouse: false, touch: !calm },
  };
}

const TICK_PARTS: Record<TickMarkType, Intl.DateTimeFormatOptions> = {
  [TickMarkType.Year]: { year: "numeric" },
  [TickMarkType.Month]: { month: "short" },
  [TickMarkType.DayOfMonth]: { day: "numeric", month: "short" },
  [TickMarkType.Time]: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  [TickMarkType.TimeWithSeconds]: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
};

function tickText(seconds: number, type: TickMarkType, { locale, timeZone }: Reader): string {
  return new Intl.DateTimeFormat(locale, { timeZone, ...TICK_PARTS[type] }).format(seconds * 1000);
}

export function timeText(seconds: number, { locale, timeZone }: Reader): string {
  const format = new Intl.DateTimeFormat(locale, {
    timeZone,
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return format.format(seconds * 1000);
}
