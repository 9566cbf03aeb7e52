// A live server in the test's hand: it hears what the client says and speaks when told to.

import { Bus, type LiveEvent, type LiveState } from "../src/bus";
import { LiveClient, type LiveOptions, type Socket, type Ticket } from "../src/live";

export class FakeSocket implements Socket {
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  readonly heard: { type: string; channels: string[]; since: number | null }[] = [];
  isClosed = false;

  constructor(readonly url: string) {}

  send(text: string): void {
    this.heard.push(JSON.parse(text));
  }

  close(): void {
    this.isClosed = true;
  }

  say(message: unknown): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  welcome(seq: number | null, heartbeat_s = 30): void {
    this.say({ type: "welcome", seq, data: { heartbeat_s } });
  }

  event(seq: number, subject = "order"): void {
    const data = { kind: `${subject}.changed`, subject, id: "1", at: "2026-01-01T00:00:00Z", text: `event ${seq}`, payload: {} };
    this.say({ type: "event", seq, data });
  }

  heartbeat(): void {
    this.say({ type: "heartbeat", seq: null, data: { at: "2026-01-01T00:00:00Z" } });
  }

  /** The line is cut, or the server hangs up. */
  drop(): void {
    this.onclose?.();
  }
}

export class FakeStorage {
  readonly kept = new Map<string, string>();
  getItem = (key: string): string | null => this.kept.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.kept.set(key, value);
}

export interface Stage {
  client: LiveClient;
  bus: Bus;
  storage: FakeStorage;
  sockets: FakeSocket[];
  events: LiveEvent[];
  states: LiveState[];
  resumptions: () => number;
}

const TICKET: Ticket = { ticket: "t 1", url: "ws://host/ws/v1/" };

export function setStage(overrides: Partial<LiveOptions> = {}): Stage {
  const bus = new Bus();
  const storage = new FakeStorage();
  const sockets: FakeSocket[] = [];
  const events: LiveEvent[] = [];
  const states: LiveState[] = [];
  let resumptions = 0;
  bus.on("event", (event) => events.push(event));
  bus.on("state", (state) => states.push(state));
  bus.on("resumed", () => (resumptions += 1));
  const client = new LiveClient({
    bus,
    tenant: "alice",
    renderedSeq: null,
    storage,
    fetchTicket: async () => TICKET,
    openSocket: (url) => {
      const socket = new FakeSocket(url);
      sockets.push(socket);
      return socket;
    },
    random: () => 0,
    ...overrides,
  });
  return { client, bus, storage, sockets, events, states, resumptions: () => resumptions };
}
