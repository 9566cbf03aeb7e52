"""A made-up market that never ends: any day of it follows from the seed and the day's number."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from apps.marketdata.models import Instrument
from ml.bars import DAY_NS, SECOND_NS, Bars
from ml.markets import Regime, Shape, switching_regimes
from ml.types import FloatVector


@dataclass(frozen=True)
class Character:
    """What a kind of market looks like.

    Attributes:
        price: where it wanders about, quote currency per unit.
        spread: standard deviation of the log price's slow wandering.
        volatility: of a day's log return.
        volume: of a day, units.
    """

    price: float
    spread: float
    volatility: float
    volume: float


CHARACTERS = {
    Instrument.AssetClass.CRYPTO: Character(60_000.0, 0.15, 0.025, 12_000.0),
    Instrument.AssetClass.FOREX: Character(1.1, 0.02, 0.005, 90_000_000.0),
    Instrument.AssetClass.STOCK: Character(150.0, 0.15, 0.018, 40_000_000.0),
    Instrument.AssetClass.FUTURE: Character(5_000.0, 0.08, 0.010, 1_200_000.0),
    Instrument.AssetClass.INDEX: Character(5_000.0, 0.08, 0.010, 0.0),
}
# Periods of the slow wandering, days; no two soon meet again.
TIDES = (17.0, 41.3, 97.1, 230.7)
# Calm, rising, falling, excited: drift and volatility as multiples of the ordinary bar's.
MOODS = ((0.0, 0.5), (0.15, 0.9), (-0.15, 1.1), (0.0, 2.0))
# An hour or so in each mood.
STAY_MINUTES = 75


@lru_cache(maxsize=64)
def day(asset_class: str, tick_size: float, interval_s: int, seed: int, number: int) -> Bars:
    """One UTC day of the market; the next day opens where this one closes.

    Args:
        interval_s: divides a day.
        number: days since 1970.
    """
    character = CHARACTERS[Instrument.AssetClass(asset_class)]
    first, last = (_level(character, seed, each) for each in (number, number + 1))
    free = _free_day(character, interval_s, np.exp(first), (seed * 1_000_003 + number) % 2**63)
    # Led to where the next day begins: a straight line is added to the log price.
    missing = last - np.log(free.close[-1])
    line = np.exp(missing * np.linspace(0.0, 1.0, len(free) + 1))
    opens, closes = (
        _on_grid(price, tick_size) for price in (free.open * line[:-1], free.close * line[1:])
    )
    middle = np.sqrt(line[:-1] * line[1:])
    return Bars(
        time=number * DAY_NS + np.arange(len(free), dtype=np.int64) * interval_s * SECOND_NS,
        open=opens,
        high=np.maximum(_on_grid(free.high * middle, tick_size), np.maximum(opens, closes)),
        low=np.minimum(_on_grid(free.low * middle, tick_size), np.minimum(opens, closes)),
        close=closes,
        volume=np.array(free.volume),
    )


def _level(character: Character, seed: int, number: int) -> float:
    """The log price at a day's first moment: tides in the seed's own phases, and some noise."""
    phases = np.random.default_rng([seed]).uniform(0.0, 2.0 * np.pi, len(TIDES))
    tide = float(np.mean(np.sin(2.0 * np.pi * number / np.array(TIDES) + phases)))
    noise = float(np.random.default_rng([seed, number]).normal()) * character.volatility / 2.0
    return float(np.log(character.price)) + 2.0 * character.spread * tide + noise


def _free_day(character: Character, interval_s: int, price: float, seed: int) -> Bars:
    """A day that begins at ``price`` and ends where chance leads it; only prices count."""
    rows = DAY_NS // (interval_s * SECOND_NS)
    volatility = character.volatility / np.sqrt(rows)
    return switching_regimes(
        Shape(
            rows,
            interval_s * SECOND_NS,
            price=price,
            tick=0.0,
            moves=8,
            volume=character.volume / rows,
        ),
        seed=seed,
        regimes=[Regime(drift * volatility, size * volatility) for drift, size in MOODS],
        stay=max(0.0, 1.0 - interval_s / (60.0 * STAY_MINUTES)),
    ).bars


def _on_grid(prices: FloatVector, tick_size: float) -> FloatVector:
    # Rounded again: a multiple of 0.00001 is not the float that its decimal is.
    return np.asarray(np.round(np.round(prices / tick_size) * tick_size, 10), np.float64)
