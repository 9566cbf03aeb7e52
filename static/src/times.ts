// Times as their reader says them: in the user's zone, UTC on hover, relative under a day.

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86_400;

export interface Reader {
  locale?: string | undefined;
  /** An IANA name; the browser's own zone when left out. */
  timeZone?: string | undefined;
}

/** The zone of the user's settings, or the browser's. */
export function readerOf(page: HTMLElement = document.documentElement): Reader {
  return { locale: page.lang || undefined, timeZone: page.dataset["zone"] || undefined };
}

export function describe(at: Date, now: Date, reader: Reader): string {
  const seconds = Math.round((at.getTime() - now.getTime()) / 1000);
  if (Math.abs(seconds) >= DAY_S) return dateOf(at, now, reader);
  if (Math.abs(seconds) < 10) return "just now";
  const words = new Intl.RelativeTimeFormat(reader.locale, { style: "short" });
  if (Math.abs(seconds) < MINUTE_S) return words.format(seconds, "second");
  if (Math.abs(seconds) < HOUR_S) return words.format(Math.trunc(seconds / MINUTE_S), "minute");
  return words.format(Math.trunc(seconds / HOUR_S), "hour");
}

function dateOf(at: Date, now: Date, { locale, timeZone }: Reader): string {
  const sameYear = at.getUTCFullYear() === now.getUTCFullYear();
  const format = new Intl.DateTimeFormat(locale, {
    timeZone,
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
    ...(sameYear ? {} : { year: "numeric" }),
  });
  return format.format(at);
}

/** 10:32, in the reader's zone. */
export function clock(at: Date, { locale, timeZone }: Reader): string {
  const format = new Intl.DateTimeFormat(locale, {
    timeZone,
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return format.format(at);
}

export function utc(at: Date): string {
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Write one <time datetime>; with data-stale-after="300" it says when it was last good. */
export function showTime(time: HTMLTimeElement, now: Date, reader: Reader = readerOf()): void {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) return;
  time.title = utc(at);
  const staleAfter = Number(time.dataset["staleAfter"]);
  const stale = staleAfter > 0 && now.getTime() - at.getTime() > staleAfter * 1000;
  time.classList.toggle("is-stale", stale);
  const text = describe(at, now, reader);
  time.textContent = stale ? `stale, last ${text}` : text;
}

export function showTimes(root: ParentNode): void {
  const now = new Date();
  const reader = readerOf();
  const times = root.querySelectorAll<HTMLTimeElement>("time[datetime]:not([data-fixed])");
  for (const time of times) showTime(time, now, reader);
}

export function keepTimes(): void {
  showTimes(document);
  setInterval(() => showTimes(document), 15_000);
  document.addEventListener("htmx:load", ({ target }) => {
    if (target instanceof HTMLElement) showTimes(target.parentElement ?? target);
  });
}
