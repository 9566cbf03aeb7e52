// Tabs inside a page: role="tablist" with buttons that name their panel in aria-controls.
// Tabs that are pages of their own are links and need none of this.

export function startTabs(): void {
  document.addEventListener("click", ({ target }) => {
    const tab = tabAt(target);
    if (tab) select(tab);
  });
  document.addEventListener("keydown", (press) => {
    const tab = tabAt(press.target);
    const next = tab && neighbour(tab, press.key);
    if (!next) return;
    press.preventDefault();
    select(next);
    next.focus();
  });
}

function tabAt(target: EventTarget | null): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>('[role="tab"]') : null;
}

function tabsBeside(tab: HTMLElement): HTMLElement[] {
  const list = tab.closest('[role="tablist"]');
  return [...(list?.querySelectorAll<HTMLElement>('[role="tab"]') ?? [])];
}

export function neighbour(tab: HTMLElement, key: string): HTMLElement | undefined {
  const tabs = tabsBeside(tab);
  const at = tabs.indexOf(tab);
  switch (key) {
    case "ArrowRight":
      return tabs[(at + 1) % tabs.length];
    case "ArrowLeft":
      return tabs.at(at - 1);
    case "Home":
      return tabs[0];
    case "End":
      return tabs.at(-1);
    default:
      return undefined;
  }
}

export function select(chosen: HTMLElement): void {
  for (const tab of tabsBeside(chosen)) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
    if (panel) panel.hidden = tab !== chosen;
  }
}
