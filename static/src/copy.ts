// Copy buttons: data-copy="#id" copies a field's value or an element's text, data-copy-text its own.

const THANKS_MS = 1500;

export function startCopy(): void {
  document.addEventListener("click", ({ target }) => {
    const button = target instanceof Element ? target.closest<HTMLElement>("[data-copy],[data-copy-text]") : null;
    if (button) void copyFrom(button);
  });
}

export async function copyFrom(button: HTMLElement): Promise<void> {
  const text = textFor(button);
  if (text === null) return;
  try {
    await navigator.clipboard.writeText(text);
    say(button, "Copied");
  } catch {
    // No clipboard without https or permission: the text is selected, one key finishes the job.
    selectSource(button);
    say(button, "Press Ctrl+C");
  }
}

export function textFor(button: HTMLElement): string | null {
  if (button.dataset["copyText"] !== undefined) return button.dataset["copyText"];
  const source = sourceOf(button);
  if (source instanceof HTMLInputElement || source instanceof HTMLTextAreaElement) return source.value;
  return source?.textContent?.trim() ?? null;
}

function sourceOf(button: HTMLElement): Element | null {
  const selector = button.dataset["copy"];
  return selector ? document.querySelector(selector) : null;
}

function selectSource(button: HTMLElement): void {
  const source = sourceOf(button);
  if (source instanceof HTMLInputElement || source instanceof HTMLTextAreaElement) source.select();
  else if (source) getSelection()?.selectAllChildren(source);
}

function say(button: HTMLElement, words: string): void {
  const label = button.querySelector<HTMLElement>("[data-copy-label]") ?? button;
  const before = (label.dataset["before"] ??= label.textContent ?? "");
  label.textContent = words;
  setTimeout(() => (label.textContent = before), THANKS_MS);
}
