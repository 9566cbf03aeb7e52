// The line above a chart that says its values, readable without hovering.

export interface LegendValue {
  label: string;
  text: string;
  /** Tells gain from loss by colour; the text carries the sign. */
  tone?: "gain" | "loss" | undefined;
}

export function writeLegend(place: HTMLElement, values: readonly LegendValue[]): void {
  place.replaceChildren(...values.map(item));
}

function item({ label, text, tone }: LegendValue): HTMLElement {
  const entry = document.createElement("span");
  entry.className = "chart-value";
  const name = document.createElement("span");
  name.className = "chart-value-label";
  name.textContent = label;
  const value = document.createElement("span");
  value.className = tone ?? "";
  value.textContent = text;
  entry.append(name, value);
  return entry;
}

export function toneOf(change: number): "gain" | "loss" | undefined {
  if (change === 0) return undefined;
  return change > 0 ? "gain" : "loss";
}
