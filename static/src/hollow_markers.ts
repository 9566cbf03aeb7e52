// Rejected signals: hollow circles above their bar. The library's own markers are always filled.

import type {
  IPrimitivePaneRenderer,
  IPrimitivePaneView,
  ISeriesPrimitive,
  PrimitiveHoveredItem,
  SeriesAttachedParameter,
  Time,
  UTCTimestamp,
} from "lightweight-charts";

export interface HollowMarker {
  time: number;
  /** The bar's high: the circle floats above it. */
  price: number;
  id: string;
}

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

const RADIUS = 5;
const LIFT = 14;
const REACH = 10;

export class HollowMarkers implements ISeriesPrimitive<Time> {
  #host: SeriesAttachedParameter<Time> | null = null;
  #markers: readonly HollowMarker[] = [];
  #colour = "";
  readonly #view: IPrimitivePaneView = {
    zOrder: () => "top",
    renderer: () => ({ draw: (target) => this.#draw(target) }),
  };

  attached(host: SeriesAttachedParameter<Time>): void {
    this.#host = host;
  }

  detached(): void {
    this.#host = null;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return [this.#view];
  }

  set(markers: readonly HollowMarker[], colour: string): void {
    this.#markers = markers;
    this.#colour = colour;
    this.#host?.requestUpdate();
  }

  hitTest(x: number, y: number): PrimitiveHoveredItem | null {
    for (const marker of this.#markers) {
      const at = this.#place(marker);
      if (at && Math.hypot(at.x - x, at.y - y) <= REACH) {
        return { externalId: marker.id, cursorStyle: "pointer", zOrder: "top" };
      }
    }
    return null;
  }

  #place({ time, price }: HollowMarker): { x: number; y: number } | null {
    const x = this.#host?.chart.timeScale().timeToCoordinate(time as UTCTimestamp);
    const y = this.#host?.series.priceToCoordinate(price);
    return x == null || y == null ? null : { x, y: y - LIFT };
  }

  #draw(target: Target): void {
    target.useMediaCoordinateSpace(({ context }) => {
      context.lineWidth = 1.5;
      context.strokeStyle = this.#colour;
      for (const marker of this.#markers) {
        const at = this.#place(marker);
        if (!at) continue;
        context.beginPath();
        context.arc(at.x, at.y, RADIUS, 0, 2 * Math.PI);
        context.stroke();
      }
    });
  }
}
