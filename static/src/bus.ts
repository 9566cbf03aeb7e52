// What the live socket tells the rest of the page.

export interface LiveEvent {
  seq: number;
  kind: string;
  subject: string;
  id: string;
  at: string;
  text: string;
  payload: Record<string, unknown>;
}

export interface LiveBar {
  instrument: string;
  /** Open time of the bar, epoch seconds. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  closed: boolean;
}

export type LiveState =
  | { name: "live" }
  | { name: "reconnecting" }
  | { name: "stale"; since: Date }
  | { name: "signed out" };

interface Topics {
  event: LiveEvent;
  bar: LiveBar;
  state: LiveState;
  /** The socket is back, or events were lost: what the page shows may be old. */
  resumed: null;
}

export class Bus {
  readonly #listeners: { [T in keyof Topics]: Set<(message: Topics[T]) => void> } = {
    event: new Set(),
    bar: new Set(),
    state: new Set(),
    resumed: new Set(),
  };

  on<T extends keyof Topics>(topic: T, listener: (message: Topics[T]) => void): () => void {
    this.#listeners[topic].add(listener);
    return () => this.#listeners[topic].delete(listener);
  }

  emit<T extends keyof Topics>(topic: T, message: Topics[T]): void {
    for (const listener of [...this.#listeners[topic]]) listener(message);
  }
}
