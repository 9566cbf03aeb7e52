"""Alerts of every kind a strategy sends, at the prices of the moment."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.e2e.history import History

Fields = dict[str, Any]


class Trader:
    """Speaks for one strategy in one instrument; the same seed says the same."""

    def __init__(self, history: History, seed: int) -> None:
        self.history = history
        self.random = random.Random(seed)
        self.said = 0

    def says(self, price: Decimal) -> bytes:
        """The next alert, when the market stands at a price."""
        kind = self.random.choices(list(KINDS), WEIGHTS)[0]
        self.said += 1
        fields = {
            "ticker": self.history.symbol,
            "exchange": "TEST",
            "alert_id": f"{self.history.symbol}-{self.said}",
            "timenow": datetime.now(UTC).isoformat(),
            **KINDS[kind](self, price),
        }
        return json.dumps(fields).encode()

    def quantity(self) -> str:
        return str(self.history.lot * self.random.randint(1, 20))

    def side(self) -> str:
        return self.random.choice(("buy", "sell"))

    def away(self, price: Decimal, share: float) -> Decimal:
        """A price on the tick grid, above (share > 0) or below by so much of itself."""
        there = price * (1 + Decimal(str(round(share, 6))))
        return (there / self.history.tick).to_integral_value() * self.history.tick

    def near(self) -> float:
        """A distance that is reached within some bars, now and then."""
        return self.random.uniform(0.0003, 0.004)

    def market(self, _: Decimal) -> Fields:
        return {"action": self.side(), "quantity": self.quantity()}

    def bracket(self, price: Decimal) -> Fields:
        side = self.side()
        sign = 1 if side == "buy" else -1
        return {
            "action": side,
            "quantity": self.quantity(),
            "stop_loss": str(self.away(price, -sign * self.near())),
            "take_profit": str(self.away(price, sign * self.near())),
        }

    def protected(self, price: Decimal) -> Fields:
        side = self.side()
        sign = 1 if side == "buy" else -1
        stop = self.away(price, -sign * self.near())
        return {"action": side, "quantity": self.quantity(), "stop_loss": str(stop)}

    def limit(self, price: Decimal) -> Fields:
        side = self.side()
        sign = 1 if side == "buy" else -1
        at = self.away(price, -sign * self.near())
        return self.market(price) | {"action": side, "orderType": "limit", "price": str(at)}

    def stop(self, price: Decimal) -> Fields:
        side = self.side()
        sign = 1 if side == "buy" else -1
        at = self.away(price, sign * self.near())
        return self.market(price) | {"action": side, "orderType": "stop", "price": str(at)}

    def reversal(self, _: Decimal) -> Fields:
        """The other side, to a position that the strategy says it has then."""
        side, size = self.side(), self.quantity()
        return {
            "action": side,
            "quantity": str(Decimal(size) * 2),
            "market_position": "long" if side == "buy" else "short",
            "market_position_size": size,
        }

    def add(self, _: Decimal) -> Fields:
        return {"action": "add", "quantity": self.quantity()}

    def reduce(self, _: Decimal) -> Fields:
        share = self.random.choice(("25%", "50%"))
        return {"action": "close", "quantity": share}

    def close(self, _: Decimal) -> Fields:
        return {"action": self.random.choice(("close", "close", "close_long", "close_short"))}

    def flat(self, _: Decimal) -> Fields:
        return self.market(_) | {"market_position": "flat", "market_position_size": "0"}

    def cancel(self, _: Decimal) -> Fields:
        return {"action": "cancel"}


KINDS: dict[str, Callable[[Trader, Decimal], Fields]] = {
    "market": Trader.market,
    "bracket": Trader.bracket,
    "protected": Trader.protected,
    "limit": Trader.limit,
    "stop": Trader.stop,
    "reversal": Trader.reversal,
    "add": Trader.add,
    "reduce": Trader.reduce,
    "close": Trader.close,
    "flat": Trader.flat,
    "cancel": Trader.cancel,
}
WEIGHTS = (6, 4, 2, 4, 3, 3, 2, 3, 4, 1, 1)
