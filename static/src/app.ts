// Every page starts here.

import "../css/app.css";

import { Bus } from "./bus";
import { followChanges } from "./changes";
import { startCopy } from "./copy";
import { startDialogs } from "./dialogs";
import { followFeeds } from "./feed";
import { startKeys } from "./keys";
import { LiveClient, type Socket } from "./live";
import { followRegions } from "./regions";
import { startRequests } from "./requests";
import { watchCharts } from "./seen";
import { fetchTicket } from "./session";
import { followState } from "./status";
import { startTabs } from "./tabs";
import { startTheme } from "./theme";
import { keepTimes } from "./times";

/** <body data-ticket-url data-tenant data-seq>: a page without a ticket address has no socket. */
function startLive(bus: Bus): LiveClient | null {
  const { ticketUrl, tenant = "", seq } = document.body.dataset;
  if (!ticketUrl) return null;
  const client = new LiveClient({
    bus,
    tenant,
    renderedSeq: seq ? Number(seq) : null,
    storage: sessionStorage,
    fetchTicket: () => fetchTicket(ticketUrl),
    openSocket: (url) => new WebSocket(url) as Socket,
    random: Math.random,
  });
  client.start();
  // An open socket would keep the page out of the browser's back/forward cache.
  addEventListener("pagehide", () => client.stop());
  addEventListener("pageshow", ({ persisted }) => persisted && client.start());
  addEventListener("online", () => client.retryNow());
  document.addEventListener("visibilitychange", () => document.hidden || client.retryNow());
  return client;
}

const bus = new Bus();
startTheme();
startRequests();
startDialogs();
startKeys();
startCopy();
startTabs();
keepTimes();
followChanges();
followState(bus, document);
followRegions(bus, document);
followFeeds(bus, document);
const live = startLive(bus);
watchCharts(bus, (channel) => live?.subscribe(channel));
