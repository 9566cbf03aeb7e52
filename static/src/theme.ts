// Light, dark or the system's; green/red or blue/orange. The inline script of base.html applies
// the remembered choice before the first paint, this file changes it.

export const THEME_KEY = "pinelab.theme";
export const GAIN_KEY = "pinelab.gain";

type Choice = { key: string; attribute: "theme" | "gain"; value: string };

export function choose({ key, attribute, value }: Choice): void {
  if (value === "system") {
    localStorage.removeItem(key);
    delete document.documentElement.dataset[attribute];
  } else {
    localStorage.setItem(key, value);
    document.documentElement.dataset[attribute] = value;
  }
  markPressed();
  announce();
}

/** Buttons: data-set-theme="system|light|dark", data-set-gain="system|blue-orange". */
export function startTheme(): void {
  document.addEventListener("click", ({ target }) => {
    if (!(target instanceof Element)) return;
    const theme = target.closest<HTMLElement>("[data-set-theme]")?.dataset["setTheme"];
    const gain = target.closest<HTMLElement>("[data-set-gain]")?.dataset["setGain"];
    if (theme) choose({ key: THEME_KEY, attribute: "theme", value: theme });
    if (gain) choose({ key: GAIN_KEY, attribute: "gain", value: gain });
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
  document.addEventListener("htmx:load", markPressed);
  markPressed();
}

function markPressed(): void {
  const { theme = "system", gain = "system" } = document.documentElement.dataset;
  press("setTheme", "[data-set-theme]", theme);
  press("setGain", "[data-set-gain]", gain);
}

function press(name: "setTheme" | "setGain", selector: string, value: string): void {
  for (const button of document.querySelectorAll<HTMLElement>(selector)) {
    button.setAttribute("aria-pressed", String(button.dataset[name] === value));
  }
}

function announce(): void {
  document.dispatchEvent(new CustomEvent("pinelab:theme"));
}
