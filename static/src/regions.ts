// Regions of the page that follow the live socket: data-live="order position" beside an hx-get
// with hx-trigger="live". The server renders; this only says when.

import type { Bus } from "./bus";

const GATHER_MS = 80;

export function followRegions(bus: Bus, root: ParentNode): void {
  const due = new Set<Element>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const refresh = (regions: Iterable<Element>): void => {
    for (const region of regions) due.add(region);
    // The timer is not pushed back by what arrives meanwhile: a busy minute must not starve the page.
    if (due.size > 0) timer ??= setTimeout(flush, GATHER_MS);
  };
  const flush = (): void => {
    timer = undefined;
    const regions = [...due];
    due.clear();
    for (const region of regions) {
      if (region.isConnected) region.dispatchEvent(new CustomEvent("live"));
    }
  };

  bus.on("event", ({ subject }) => {
    refresh([...regionsIn(root)].filter((region) => subjectsOf(region).includes(subject)));
  });
  bus.on("resumed", () => refresh(regionsIn(root)));
}

function regionsIn(root: ParentNode): NodeListOf<HTMLElement> {
  return root.querySelectorAll<HTMLElement>("[data-live]");
}

function subjectsOf(region: HTMLElement): string[] {
  return (region.dataset["live"] ?? "").split(/\s+/);
}
