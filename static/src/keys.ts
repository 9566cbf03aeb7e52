// The keyboard: `/` search, `g` then a letter to go, `?` help, Esc closes.

const CHORD_MS = 1500;

export type Command = { name: "search" } | { name: "help" } | { name: "go"; letter: string };

/** Turns key presses into commands; remembers only whether `g` was the last one. */
export class KeyReader {
  #goUntil = 0;

  /** now: milliseconds. */
  read(key: string, now: number): Command | null {
    const going = now < this.#goUntil;
    this.#goUntil = 0;
    if (going && /^[a-z]$/.test(key)) return { name: "go", letter: key };
    if (key === "g") this.#goUntil = now + CHORD_MS;
    if (key === "/") return { name: "search" };
    if (key === "?") return { name: "help" };
    return null;
  }
}

/** Places carry their letter: <a href="/signals/" data-go="s">. */
export function startKeys(): void {
  const reader = new KeyReader();
  document.addEventListener("keydown", (press) => {
    if (press.key === "Escape") return closeMenus();
    if (press.ctrlKey || press.metaKey || press.altKey || isTyping(press.target)) return;
    // A dialog asks for an answer: nothing behind it moves meanwhile.
    if (document.querySelector("dialog[open]")) return;
    const command = reader.read(press.key, performance.now());
    if (command && obey(command)) press.preventDefault();
  });
}

function obey(command: Command): boolean {
  switch (command.name) {
    case "search":
      return focusSearch();
    case "help":
      return openHelp();
    case "go":
      return go(command.letter);
  }
}

function focusSearch(): boolean {
  const search = document.querySelector<HTMLInputElement>("[data-search]");
  search?.focus();
  search?.select();
  return search !== null;
}

function openHelp(): boolean {
  const help = document.querySelector<HTMLDialogElement>("dialog#keys");
  help?.showModal();
  return help !== null;
}

function go(letter: string): boolean {
  const place = document.querySelector<HTMLAnchorElement>(`a[data-go="${letter}"]`);
  if (place) location.assign(place.href);
  return place !== null;
}

function closeMenus(): void {
  for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
}

export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
}
