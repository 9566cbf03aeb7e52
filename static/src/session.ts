// The session's requests to our own API: the CSRF header, and the ticket of the live socket.

import { SignedOut, type Ticket } from "./live";

const TICKET_TIMEOUT_MS = 10_000;

export function csrfToken(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? "";
}

export async function fetchTicket(url: string): Promise<Ticket> {
  const response = await fetch(url, {
    method: "POST",
    credentials: "same-origin",
    headers: { "X-CSRFToken": csrfToken(), Accept: "application/json" },
    signal: AbortSignal.timeout(TICKET_TIMEOUT_MS),
  });
  if (response.status === 401 || response.status === 403) throw new SignedOut();
  if (!response.ok) throw new Error(`no ticket: ${response.status}`);
  return (await response.json()) as Ticket;
}
