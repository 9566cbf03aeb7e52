// htmx, fitted to our content security policy and our way of reporting failures.
//
// Version 2 and not 4: with allowEval off it runs under a policy without 'unsafe-eval', it is
// what django-htmx speaks, and 4 is a first release with other defaults for inheritance and history.

import htmx from "htmx.org";

import { failureText } from "./failures";
import { csrfToken } from "./session";
import { toast } from "./toasts";

// The indicator styles would be an inline <style>; ours are in css/. Pages hold a tenant's money:
// none of them is kept in the browser's storage, so "back" asks the server.
Object.assign(htmx.config, {
  allowEval: false,
  allowScriptTags: false,
  includeIndicatorStyles: false,
  selfRequestsOnly: true,
  historyCacheSize: 0,
  timeout: 15_000,
  responseHandling: [
    { code: "204", swap: false },
    { code: "[23]..", swap: true },
    // A form with faults comes back with its errors beside the fields.
    { code: "422", swap: true },
    { code: "[45]..", swap: false, error: true },
  ],
});

interface FailedRequest {
  xhr?: XMLHttpRequest;
  requestConfig?: { verb?: string; triggeringEvent?: Event };
}

export function startRequests(): void {
  document.addEventListener("htmx:configRequest", (event) => {
    const { headers } = (event as CustomEvent<{ headers: Record<string, string> }>).detail;
    headers["X-CSRFToken"] = csrfToken();
  });
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => report((event as CustomEvent<FailedRequest>).detail));
  }
}

function report({ xhr, requestConfig }: FailedRequest): void {
  // A live region that cannot refresh tries again with the next event; the top bar says "Stale".
  if (requestConfig?.triggeringEvent?.type === "live") return;
  toast(failureText(requestConfig?.verb ?? "get", xhr?.status ?? 0, xhr ? referenceOf(xhr) : null), "bad");
}

function referenceOf(xhr: XMLHttpRequest): string | null {
  return xhr.getResponseHeader("X-Request-ID");
}
