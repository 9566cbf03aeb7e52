// A value that a live refresh changed lights up briefly: <span data-value="equity">.

type Values = Map<string, string>;

export function valuesIn(root: ParentNode): Values {
  const values: Values = new Map();
  for (const element of root.querySelectorAll<HTMLElement>("[data-value]")) {
    values.set(element.dataset["value"] ?? "", element.textContent?.trim() ?? "");
  }
  return values;
}

export function markChanges(root: ParentNode, before: Values): void {
  for (const element of root.querySelectorAll<HTMLElement>("[data-value]")) {
    const old = before.get(element.dataset["value"] ?? "");
    const changed = old !== undefined && old !== element.textContent?.trim();
    if (changed) element.classList.add("is-changed");
  }
}

export function followChanges(): void {
  let before: Values = new Map();
  document.addEventListener("htmx:beforeSwap", () => (before = valuesIn(document)));
  document.addEventListener("htmx:afterSettle", () => {
    markChanges(document, before);
    before = new Map();
  });
  document.addEventListener("animationend", ({ target, animationName }) => {
    if (animationName === "changed" && target instanceof Element) target.classList.remove("is-changed");
  });
}
