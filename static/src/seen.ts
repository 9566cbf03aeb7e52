// Charts are fetched and drawn when they come into view: most visits never need their code.

import type { Bus } from "./bus";

// Start a little before the frame is on the screen, so that it is drawn when it gets there.
const AHEAD = "200px";

export function watchCharts(bus: Bus, subscribe: (channel: string) => void): void {
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting || !(target instanceof HTMLElement)) continue;
        observer.unobserve(target);
        void import("./chart").then(({ mount }) => mount(target, { bus, subscribe }));
      }
    },
    { rootMargin: AHEAD },
  );
  const watch = (root: ParentNode): void => {
    for (const frame of root.querySelectorAll("[data-chart]:not([data-mounted])")) observer.observe(frame);
  };
  watch(document);
  document.addEventListener("htmx:load", () => watch(document));
}
