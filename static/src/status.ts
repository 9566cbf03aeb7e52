// The quiet word in the top bar: Live, Reconnecting…, Stale since 10:32.

import type { Bus, LiveState } from "./bus";
import { clock, readerOf, type Reader } from "./times";

export function stateText(state: LiveState, reader: Reader): string {
  switch (state.name) {
    case "live":
      return "Live";
    case "reconnecting":
      return "Reconnecting…";
    case "stale":
      return `Stale since ${clock(state.since, reader)}`;
    case "signed out":
      return "Signed out";
  }
}

export function followState(bus: Bus, root: ParentNode): void {
  bus.on("state", (state) => {
    for (const place of root.querySelectorAll<HTMLElement>("[data-live-state]")) {
      place.dataset["liveState"] = state.name.replace(" ", "-");
      const text = place.querySelector<HTMLElement>("[data-live-text]");
      if (text) text.textContent = stateText(state, readerOf());
    }
  });
}
