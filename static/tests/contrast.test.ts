// Both themes and both colour pairs against WCAG 2.2 AA, from the tokens as they are written.

import { describe, expect, it } from "vitest";

import css from "../css/tokens.css?raw";

type Theme = "light" | "dark";
type Tokens = Record<string, string>;

function tokensOf(block: string, theme: Theme): Tokens {
  const tokens: Tokens = {};
  for (const [, name, light, dark, plain] of block.matchAll(
    /--([\w-]+):\s*(?:light-dark\((#\w{6}),\s*(#\w{6})\)|(#\w{6}));/g,
  )) {
    tokens[name ?? ""] = plain ?? (theme === "light" ? light : dark) ?? "";
  }
  return tokens;
}

function block(selector: string): string {
  const start = css.indexOf(`${selector} {`);
  return css.slice(start, css.indexOf("}", start));
}

function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const channel = parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

const SURFACES = ["surface-0", "surface-1", "surface-2", "surface-3"];
const TEXTS = ["text-1", "text-2", "text-3", "accent", "gain", "loss", "warn", "danger"];
const FILLED = [["on-accent", "accent"], ["on-danger", "danger-fill"], ["surface-1", "gain"]] as const;

describe.each(["light", "dark"] as const)("the %s theme", (theme) => {
  const green = tokensOf(block(":root"), theme);
  const blue = { ...green, ...tokensOf(block(':root[data-gain="blue-orange"]'), theme) };

  describe.each([["green and red", green], ["blue and orange", blue]])("with %s", (_, tokens) => {
    it.each(TEXTS.flatMap((text) => SURFACES.map((surface) => [text, surface] as const)))(
      "%s is read on %s",
      (text, surface) => {
        expect(contrast(tokens[text] ?? "", tokens[surface] ?? "")).toBeGreaterThanOrEqual(4.5);
      },
    );

    it.each(FILLED)("%s is read on %s", (text, fill) => {
      expect(contrast(tokens[text] ?? "", tokens[fill] ?? "")).toBeGreaterThanOrEqual(4.5);
    });

    it.each(["surface-0", "surface-1", "surface-2"])("the edge of a control is seen on %s", (surface) => {
      expect(contrast(tokens["line-strong"] ?? "", tokens[surface] ?? "")).toBeGreaterThanOrEqual(3);
    });
  });
});
