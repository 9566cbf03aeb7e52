// Short notices at the edge of the page; errors stay until they are dismissed.

const GONE_AFTER_MS = 6000;

export type Tone = "info" | "good" | "bad";

export function toast(text: string, tone: Tone = "info"): void {
  const shelf = document.querySelector("[data-toasts]");
  if (!shelf) return;
  const notice = document.createElement("div");
  notice.className = `toast toast-${tone}`;
  notice.setAttribute("role", tone === "bad" ? "alert" : "status");
  const words = document.createElement("p");
  words.textContent = text;
  notice.append(words, closeButton(notice));
  shelf.append(notice);
  if (tone !== "bad") setTimeout(() => notice.remove(), GONE_AFTER_MS);
}

function closeButton(notice: HTMLElement): HTMLElement {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-quiet button-icon";
  button.setAttribute("aria-label", "Dismiss");
  button.textContent = "×";
  button.addEventListener("click", () => notice.remove());
  return button;
}
