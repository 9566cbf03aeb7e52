// The client of the live socket: it keeps the order of events whole across lost lines.

import type { Bus, LiveEvent, LiveState } from "./bus";
import { readMessage } from "./messages";

export interface Ticket {
  ticket: string;
  url: string;
}

/** The server will not give a ticket to this session, however often it is asked. */
export class SignedOut extends Error {}

/** The part of WebSocket that is used here; the tests bring their own. */
export interface Socket {
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(text: string): void;
  close(): void;
}

export interface LiveOptions {
  bus: Bus;
  /** Names the place where the last sequence number is kept. */
  tenant: string;
  /** The last event the server had written when it rendered this page, if the page says so. */
  renderedSeq: number | null;
  storage: Pick<Storage, "getItem" | "setItem">;
  fetchTicket: () => Promise<Ticket>;
  openSocket: (url: string) => Socket;
  random: () => number;
}

const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10_000;
const GAP_PATIENCE_MS = 5_000;
// One heartbeat may be late; of two in a row none is only late.
const SILENCE_PER_HEARTBEAT = 1.5;

export class LiveClient {
  readonly #options: LiveOptions;
  readonly #channels = new Set<string>(["events"]);
  #socket: Socket | null = null;
  #running = false;
  #welcomed = false;
  #wasLive = false;
  #attempt = 0;
  #lastSeq: number | null;
  #silenceMs = 45_000;
  #lastHeard = new Date();
  #askedForGap = false;
  #gapIsFinal = false;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #silenceTimer: ReturnType<typeof setTimeout> | undefined;
  #gapTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LiveOptions) {
    this.#options = options;
    this.#lastSeq = options.renderedSeq ?? this.#storedSeq();
  }

  get lastSeq(): number | null {
    return this.#lastSeq;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#hear();
    void this.#connect();
  }

  stop(): void {
    this.#running = false;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#silenceTimer);
    this.#dropSocket();
  }

  /** Try at once instead of at the end of the back-off: the network or the tab came back. */
  retryNow(): void {
    if (!this.#running || this.#retryTimer === undefined) return;
    this.#clearRetry();
    void this.#connect();
  }

  subscribe(channel: string): void {
    if (this.#channels.has(channel)) return;
    this.#channels.add(channel);
    if (this.#welcomed) this.#sendSubscription();
  }

  async #connect(): Promise<void> {
    let ticket: Ticket;
    try {
      ticket = await this.#options.fetchTicket();
    } catch (error) {
      if (!this.#running) return;
      if (error instanceof SignedOut) this.#giveUp();
      else this.#retryLater();
      return;
    }
    if (this.#running && !this.#socket) this.#open(ticket);
  }

  #open({ ticket, url }: Ticket): void {
    const socket = this.#options.openSocket(`${url}?ticket=${encodeURIComponent(ticket)}`);
    this.#socket = socket;
    // A socket that opens and then says nothing is as dead as one that falls silent.
    this.#watchSilence();
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#receive(data);
    };
    socket.onclose = () => {
      if (socket === this.#socket) this.#lost();
    };
  }

  #receive(data: unknown): void {
    this.#hear();
    const message = readMessage(data);
    switch (message?.type) {
      case "welcome":
        return this.#welcome(message.seq, message.heartbeatSeconds);
      case "event":
        return this.#take(message.event);
      case "bar":
        return this.#options.bus.emit("bar", message.bar);
      case "error":
        // The server says what is wrong and closes if it must: the page has nothing to add.
        return console.warn(`live: ${message.code}: ${message.message}`);
      default:
        return;
    }
  }

  #welcome(seq: number | null, heartbeatSeconds: number): void {
    this.#welcomed = true;
    this.#attempt = 0;
    this.#silenceMs = heartbeatSeconds * 1000 * SILENCE_PER_HEARTBEAT;
    this.#watchSilence();
    // Behind us: the server's log was restored or made anew, and our number means nothing there.
    const restarted = seq !== null && this.#lastSeq !== null && seq < this.#lastSeq;
    if (this.#lastSeq === null || restarted) this.#remember(seq);
    this.#sendSubscription();
    this.#announce({ name: "live" });
    if (this.#wasLive || restarted) this.#options.bus.emit("resumed", null);
    this.#wasLive = true;
  }

  #take(event: LiveEvent): void {
    const last = this.#lastSeq;
    if (last !== null && event.seq <= last) return;
    const jumped = last !== null && event.seq > last + 1;
    if (jumped && !this.#gapIsFinal) return this.#askForGap();
    this.#closeGap();
    this.#gapIsFinal = false;
    this.#remember(event.seq);
    this.#options.bus.emit("event", event);
    // Asked twice and still not told: those events are gone, so the page reads its state afresh.
    if (jumped) this.#options.bus.emit("resumed", null);
  }

  #askForGap(): void {
    // What follows the gap keeps arriving until the server has read the question: ask once.
    if (this.#askedForGap) return;
    this.#askedForGap = true;
    this.#sendSubscription();
    this.#gapTimer = setTimeout(() => {
      this.#gapIsFinal = true;
      this.#lost();
    }, GAP_PATIENCE_MS);
  }

  #closeGap(): void {
    clearTimeout(this.#gapTimer);
    this.#askedForGap = false;
  }

  #sendSubscription(): void {
    const subscription = {
      type: "subscribe",
      channels: [...this.#channels],
      since: this.#lastSeq,
    };
    this.#socket?.send(JSON.stringify(subscription));
  }

  #hear(): void {
    this.#lastHeard = new Date();
    this.#watchSilence();
  }

  #watchSilence(): void {
    clearTimeout(this.#silenceTimer);
    this.#silenceTimer = setTimeout(() => this.#fallSilent(), this.#silenceMs);
  }

  #fallSilent(): void {
    if (this.#socket) this.#lost();
    else this.#announce(this.#absence());
  }

  #lost(): void {
    this.#dropSocket();
    this.#retryLater();
  }

  #dropSocket(): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#welcomed = false;
    this.#closeGap();
    socket?.close();
  }

  #retryLater(): void {
    this.#clearRetry();
    this.#announce(this.#absence());
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** (this.#attempt + 1));
    const delay = RETRY_MIN_MS + this.#options.random() * (ceiling - RETRY_MIN_MS);
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      void this.#connect();
    }, delay);
  }

  #clearRetry(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
  }

  #absence(): LiveState {
    const silent = Date.now() - this.#lastHeard.getTime() >= this.#silenceMs;
    return silent ? { name: "stale", since: this.#lastHeard } : { name: "reconnecting" };
  }

  #giveUp(): void {
    this.stop();
    this.#announce({ name: "signed out" });
  }

  #announce(state: LiveState): void {
    this.#options.bus.emit("state", state);
  }

  get #storageKey(): string {
    return `pinelab.live.${this.#options.tenant}`;
  }

  #storedSeq(): number | null {
    const stored = this.#options.storage.getItem(this.#storageKey);
    return stored === null || !Number.isSafeInteger(Number(stored)) ? null : Number(stored);
  }

  #remember(seq: number | null): void {
    this.#lastSeq = seq;
    if (seq !== null) this.#options.storage.setItem(this.#storageKey, String(seq));
  }
}
