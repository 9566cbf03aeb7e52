// The live socket's messages: text from the wire in, typed messages out.

import type { LiveBar, LiveEvent } from "./bus";

export type ServerMessage =
  | { type: "welcome"; seq: number | null; heartbeatSeconds: number }
  | { type: "event"; event: LiveEvent }
  | { type: "bar"; bar: LiveBar }
  | { type: "heartbeat" }
  | { type: "error"; code: string; message: string };

type Fields = Record<string, unknown>;

/** Null for what this version does not know: a newer server may say more. */
export function readMessage(raw: unknown): ServerMessage | null {
  const message = fieldsOf(raw);
  const data = message && fieldsOf(message["data"]);
  if (!message || !data) return null;
  switch (message["type"]) {
    case "welcome":
      return {
        type: "welcome",
        seq: typeof message["seq"] === "number" ? message["seq"] : null,
        heartbeatSeconds: Number(data["heartbeat_s"]) || 30,
      };
    case "event":
      return typeof message["seq"] === "number" ? readEvent(message["seq"], data) : null;
    case "bar":
      return readBar(data);
    case "heartbeat":
      return { type: "heartbeat" };
    case "error":
      return { type: "error", code: String(data["code"]), message: String(data["message"]) };
    default:
      return null;
  }
}

function readEvent(seq: number, data: Fields): ServerMessage {
  const event: LiveEvent = {
    seq,
    kind: String(data["kind"] ?? ""),
    subject: String(data["subject"] ?? ""),
    id: String(data["id"] ?? ""),
    at: String(data["at"] ?? ""),
    text: String(data["text"] ?? ""),
    payload: fieldsOf(data["payload"]) ?? {},
  };
  return { type: "event", event };
}

function readBar(data: Fields): ServerMessage | null {
  const number = (name: string): number => (typeof data[name] === "number" ? data[name] : NaN);
  const bar: LiveBar = {
    instrument: String(data["instrument"] ?? ""),
    time: number("time"),
    open: number("open"),
    high: number("high"),
    low: number("low"),
    close: number("close"),
    volume: number("volume"),
    closed: data["closed"] === true,
  };
  const prices = [bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume];
  return prices.every(Number.isFinite) ? { type: "bar", bar } : null;
}

function fieldsOf(value: unknown): Fields | null {
  const parsed = typeof value === "string" ? parse(value) : value;
  return typeof parsed === "object" && parsed !== null ? (parsed as Fields) : null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
