import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { SignedOut } from "../src/live";
import { FakeSocket, setStage, type Stage } from "./fake_socket";

beforeEach(() => {
  vi.useFakeTimers({ now: new Date("2026-01-01T10:32:00Z") });
});

afterEach(() => {
  vi.useRealTimers();
});

async function connected(seq: number | null = 7, overrides: Parameters<typeof setStage>[0] = {}): Promise<Stage & { socket: FakeSocket }> {
  const stage = setStage(overrides);
  stage.client.start();
  const socket = await nextSocket(stage);
  socket.welcome(seq);
  return { ...stage, socket };
}

async function nextSocket(stage: Stage, within_ms = 0): Promise<FakeSocket> {
  const before = stage.sockets.length;
  await vi.advanceTimersByTimeAsync(within_ms);
  const socket = stage.sockets.at(-1);
  if (!socket || (within_ms > 0 && stage.sockets.length === before)) throw new Error("no new socket");
  return socket;
}

const seqs = (stage: Stage): number[] => stage.events.map(({ seq }) => seq);

describe("connecting", () => {
  it("brings the ticket in the address, escaped", async () => {
    const { socket } = await connected();

    expect(socket.url).toBe("ws://host/ws/v1/?ticket=t%201");
  });

  it("waits for the welcome before it subscribes", async () => {
    const stage = setStage();
    stage.client.start();
    const socket = await nextSocket(stage);

    expect(socket.heard).toEqual([]);
    socket.welcome(7);
    expect(socket.heard).toEqual([{ type: "subscribe", channels: ["events"], since: 7 }]);
  });

  it("asks for what came after the page was rendered", async () => {
    const { socket } = await connected(9, { renderedSeq: 5 });

    expect(socket.heard[0]?.since).toBe(5);
  });

  it("goes on where the last page of this tenant stopped", async () => {
    const { storage } = await connected(7);
    const next = await connected(9, { storage });

    expect(next.socket.heard[0]?.since).toBe(7);
  });

  it("does not use another tenant's number", async () => {
    const { storage } = await connected(7);
    const next = await connected(3, { storage, tenant: "bob" });

    expect(next.socket.heard[0]?.since).toBe(3);
  });

  it("stops asking when the session has ended", async () => {
    const fetchTicket = vi.fn(() => Promise.reject(new SignedOut()));
    const stage = setStage({ fetchTicket });
    stage.client.start();
    await vi.advanceTimersByTimeAsync(120_000);

    expect(fetchTicket).toHaveBeenCalledTimes(1);
    expect(stage.states.at(-1)).toEqual({ name: "signed out" });
  });

  it("subscribes to a chart's bars when the chart appears", async () => {
    const { client, socket } = await connected();

    client.subscribe("bars:i1");
    client.subscribe("bars:i1");

    expect(socket.heard.length).toBe(2);
    expect(socket.heard[1]).toEqual({ type: "subscribe", channels: ["events", "bars:i1"], since: 7 });
  });
});

describe("events", () => {
  it("arrive in order and are remembered", async () => {
    const stage = await connected(7);

    stage.socket.event(8);
    stage.socket.event(9);

    expect(seqs(stage)).toEqual([8, 9]);
    expect(stage.storage.getItem("pinelab.live.alice")).toBe("9");
  });

  it("that are repeated count once", async () => {
    const stage = await connected(7);

    for (const seq of [8, 8, 7, 9, 8]) stage.socket.event(seq);

    expect(seqs(stage)).toEqual([8, 9]);
  });

  it("that are missing are asked for, once, and nothing overtakes them", async () => {
    const stage = await connected(7);

    for (const seq of [8, 10, 11]) stage.socket.event(seq);
    expect(seqs(stage)).toEqual([8]);
    expect(stage.socket.heard.map(({ since }) => since)).toEqual([7, 8]);

    for (const seq of [9, 10, 11]) stage.socket.event(seq);
    expect(seqs(stage)).toEqual([8, 9, 10, 11]);
    expect(stage.resumptions()).toBe(0);
  });

  it("that stay missing lead to a new line, and then to a refreshed page", async () => {
    const stage = await connected(7);
    stage.socket.event(10);

    const second = await nextSocket(stage, 5_000 + 500);
    second.welcome(11);
    expect(second.heard[0]?.since).toBe(7);
    second.event(10);
    second.event(11);

    expect(seqs(stage)).toEqual([10, 11]);
    expect(stage.resumptions()).toBe(2);
  });

  it("after one conceded gap are guarded as before", async () => {
    const stage = await connected(7);
    stage.socket.event(10);
    const second = await nextSocket(stage, 5_500);
    second.welcome(11);
    second.event(10);

    second.event(13);

    expect(seqs(stage)).toEqual([10]);
    expect(second.heard.at(-1)?.since).toBe(10);
  });

  it("of a log that was made anew start from its number", async () => {
    const stage = await connected(3, { renderedSeq: 900 });

    stage.socket.event(4);

    expect(stage.socket.heard[0]?.since).toBe(3);
    expect(seqs(stage)).toEqual([4]);
    expect(stage.resumptions()).toBe(1);
  });
});

describe("a lost line", () => {
  it("is taken up again from the last event, and the page is told", async () => {
    const stage = await connected(7);
    stage.socket.event(8);
    stage.socket.drop();
    expect(stage.states.at(-1)).toEqual({ name: "reconnecting" });

    const second = await nextSocket(stage, 500);
    second.welcome(12);

    expect(second.heard).toEqual([{ type: "subscribe", channels: ["events"], since: 8 }]);
    expect(stage.states.at(-1)).toEqual({ name: "live" });
    expect(stage.resumptions()).toBe(1);
  });

  it("is tried ever more slowly, up to ten seconds", async () => {
    const opened: number[] = [];
    const stage = setStage({
      random: () => 1,
      openSocket: (url) => {
        opened.push(Date.now());
        const socket = new FakeSocket(url);
        queueMicrotask(() => socket.drop());
        return socket;
      },
    });
    stage.client.start();
    await vi.advanceTimersByTimeAsync(60_000);

    const waits = opened.slice(1).map((at, index) => at - (opened[index] ?? 0));
    expect(waits.slice(0, 6)).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
  });

  it("is never tried again sooner than half a second", async () => {
    const stage = await connected();
    stage.socket.drop();

    await vi.advanceTimersByTimeAsync(499);
    expect(stage.sockets.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(stage.sockets.length).toBe(2);
  });

  it("starts patient again after a welcome", async () => {
    const stage = await connected(7, { random: () => 1 });
    for (let round = 0; round < 4; round += 1) {
      stage.sockets.at(-1)?.drop();
      const socket = await nextSocket(stage, 1_000);
      socket.welcome(7);
    }

    expect(stage.sockets.length).toBe(5);
  });

  it("is tried at once when the network comes back", async () => {
    const stage = await connected(7, { random: () => 1 });
    stage.socket.drop();

    stage.client.retryNow();
    await vi.advanceTimersByTimeAsync(0);

    expect(stage.sockets.length).toBe(2);
  });

  it("is retried when the ticket could not be had", async () => {
    const fetchTicket = vi.fn().mockRejectedValueOnce(new Error("503")).mockResolvedValue({ ticket: "t", url: "ws://h/" });
    const stage = setStage({ fetchTicket });
    stage.client.start();
    await vi.advanceTimersByTimeAsync(500);

    expect(stage.sockets.length).toBe(1);
  });

  it("is not tried again when the page was left while a ticket was asked for", async () => {
    const fetchTicket = vi.fn(() => Promise.reject(new Error("503")));
    const stage = setStage({ fetchTicket });
    stage.client.start();

    stage.client.stop();
    await vi.advanceTimersByTimeAsync(60_000);

    expect(fetchTicket).toHaveBeenCalledTimes(1);
  });

  it("is let go when the page is left", async () => {
    const stage = await connected();

    stage.client.stop();
    await vi.advanceTimersByTimeAsync(120_000);

    expect(stage.socket.isClosed).toBe(true);
    expect(stage.sockets.length).toBe(1);
  });
});

describe("one line at a time", () => {
  it("is opened, however often it is started", async () => {
    const fetchTicket = vi.fn(() => Promise.resolve({ ticket: "t", url: "ws://h/" }));
    const stage = await connected(7, { fetchTicket });

    stage.client.start();
    stage.client.retryNow();
    await vi.advanceTimersByTimeAsync(0);

    expect(fetchTicket).toHaveBeenCalledTimes(1);
  });

  it("is opened when the page is left and come back to while a ticket is asked for", async () => {
    const stage = setStage();
    stage.client.start();
    stage.client.stop();
    stage.client.start();
    await vi.advanceTimersByTimeAsync(0);

    expect(stage.sockets.length).toBe(1);
  });

  it("is not opened by a ticket that comes after the page was left", async () => {
    const stage = setStage();
    stage.client.start();
    stage.client.stop();
    await vi.advanceTimersByTimeAsync(0);

    expect(stage.sockets.length).toBe(0);
  });

  it("counts: what a given up one still says or closes is not heard", async () => {
    const stage = await connected();
    await vi.advanceTimersByTimeAsync(45_000);
    const second = await nextSocket(stage, 500);
    second.welcome(7);

    stage.socket.event(8);
    stage.socket.drop();
    await vi.advanceTimersByTimeAsync(10_000);

    expect(stage.events).toEqual([]);
    expect(stage.sockets.length).toBe(2);
    expect(second.isClosed).toBe(false);
  });
});

describe("silence", () => {
  it("of 45 seconds is a dead line, stale since its last word", async () => {
    const stage = await connected();
    await vi.advanceTimersByTimeAsync(44_999);
    expect(stage.socket.isClosed).toBe(false);

    await vi.advanceTimersByTimeAsync(1);

    expect(stage.socket.isClosed).toBe(true);
    expect(stage.states.at(-1)).toEqual({ name: "stale", since: new Date("2026-01-01T10:32:00Z") });
    await nextSocket(stage, 500);
  });

  it("is broken by a heartbeat", async () => {
    const stage = await connected();
    for (let beat = 0; beat < 4; beat += 1) {
      await vi.advanceTimersByTimeAsync(30_000);
      stage.socket.heartbeat();
    }

    expect(stage.sockets.length).toBe(1);
    expect(stage.states).toEqual([{ name: "live" }]);
  });

  it("follows the heartbeat the server promises", async () => {
    const stage = setStage();
    stage.client.start();
    const socket = await nextSocket(stage);
    socket.welcome(7, 10);

    await vi.advanceTimersByTimeAsync(15_000);

    expect(socket.isClosed).toBe(true);
  });

  it("of sockets that open and never speak is noticed, each time", async () => {
    const stage = setStage();
    stage.client.start();
    await nextSocket(stage);

    await vi.advanceTimersByTimeAsync(2 * 45_500);

    expect(stage.sockets.length).toBe(3);
  });

  it("turns reconnecting into stale without a further attempt failing", async () => {
    const stage = await connected(7, { fetchTicket: hangingAfterFirst() });
    stage.socket.drop();

    await vi.advanceTimersByTimeAsync(45_000);

    expect(stage.states.at(-1)?.name).toBe("stale");
  });
});

function hangingAfterFirst(): () => Promise<{ ticket: string; url: string }> {
  let calls = 0;
  return () => {
    calls += 1;
    return calls === 1 ? Promise.resolve({ ticket: "t", url: "ws://h/" }) : new Promise(() => undefined);
  };
}

it("a message of an unknown type or shape changes nothing", async () => {
  const stage = await connected();

  for (const odd of ["not json", 7, null, { type: "novelty", data: {} }, { type: "event", seq: "8", data: {} }]) {
    stage.socket.say(odd);
  }
  stage.socket.onmessage?.({ data: "{broken" });

  expect(stage.events).toEqual([]);
  expect(stage.socket.isClosed).toBe(false);
});

it("a bar with a price that is no number is not passed on", async () => {
  const stage = await connected();
  const bars: unknown[] = [];
  stage.bus.on("bar", (bar) => bars.push(bar));
  const bar = { instrument: "i1", time: 1, open: 1, high: 2, low: 1, close: 2, volume: 3, closed: true };

  stage.socket.say({ type: "bar", seq: null, data: { ...bar, close: "2" } });
  stage.socket.say({ type: "bar", seq: null, data: bar });

  expect(bars).toEqual([bar]);
});
