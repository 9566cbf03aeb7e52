"""Synthetic markets with a known truth: what a method finds here can be compared with what is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.bars import HOUR_NS, Bars
from ml.jit import kernel
from ml.types import FloatMatrix, FloatVector, IntVector

START_NS = 1_577_836_800_000_000_000  # 2020-01-01T00:00Z, a Wednesday


@dataclass(frozen=True)
class Shape:
    """How a market looks from outside, whatever drives it.

    Attributes:
        bars: T, at least 1.
        interval_ns: length of a bar.
        start_ns: open time of the first bar, ns UTC.
        price: first open, quote currency per unit.
        tick: price step, quote currency; small beside the price, zero for no grid.
        moves: price changes inside a bar; more of them give longer wicks.
        volume: typical volume of a bar, base units.
        session_bars: bars between two closings of the market, 0 if it never closes.
        closed_ns: how long it stays closed.
        gap_volatility: standard deviation of the log return over a closing.

    Raises:
        ValueError: a value outside what is said above.
    """

    bars: int
    interval_ns: int = HOUR_NS
    start_ns: int = START_NS
    price: float = 100.0
    tick: float = 0.01
    moves: int = 16
    volume: float = 1_000.0
    session_bars: int = 0
    closed_ns: int = 0
    gap_volatility: float = 0.0

    def __post_init__(self) -> None:
        if self.bars < 1 or self.moves < 1 or self.interval_ns < 1:
            raise ValueError("bars, moves and interval_ns must be at least 1")
        if not (0.0 < self.price < math.inf and 0.0 <= self.tick < self.price):
            raise ValueError(f"price {self.price} must be positive and above tick {self.tick}")
        if min(self.session_bars, self.closed_ns, self.gap_volatility, self.volume) < 0:
            raise ValueError("sessions, gaps and volume must not be negative")


@dataclass(frozen=True)
class Planted:
    """A market with an edge in it.

    Attributes:
        bars: T bars.
        signal: (T,) −1, 0 or 1, known at the close of bar t: the sign of bar t + 1's drift. To hold
            it is the best any rule can do before costs, and earns ``edge`` · E|signal| per bar.
    """

    bars: Bars
    signal: FloatVector


@dataclass(frozen=True)
class Regime:
    """Drift and volatility of log returns while a regime lasts, per bar."""

    drift: float
    volatility: float


@dataclass(frozen=True)
class Switching:
    """A market whose character changes.

    Attributes:
        bars: T bars.
        regime: (T,) int64, which of the regimes drove bar t.
    """

    bars: Bars
    regime: IntVector


def random_walk(shape: Shape, *, seed: int, drift: float = 0.0, volatility: float = 0.005) -> Bars:
    """Geometric Brownian motion: nothing can be earned here but the drift.

        ln price moves by Normal(drift / m, volatility² / m) at each of m moves in a bar

    Args:
        shape: of the bars.
        seed: the same seed gives the same bars.
        drift: mean log return per bar.
        volatility: standard deviation of the log return per bar, not negative.

    Source:
        Osborne (1959), "Brownian Motion in the Stock Market", Operations Research 7(2).
    """
    chance = np.random.default_rng(seed)
    noise = _noise(shape, chance, np.full(shape.bars, volatility))
    return _draw(shape, chance, noise, np.full(shape.bars, drift))


def planted_signal(
    shape: Shape, *, seed: int, edge: float, lookback: int = 10, volatility: float = 0.005
) -> Planted:
    """A random walk whose next drift is the sign of its last ``lookback`` bars' return.

        drift_{t+1} = edge · sign( ln price_t − ln price_{t−n} ),   0 for t < n

    Prices here are those before rounding to the tick; gaps between sessions carry no signal.

    Args:
        shape: of the bars.
        seed: the same seed gives the same bars.
        edge: mean log return per bar for who holds the signal; negative plants reversal.
        lookback: n ≥ 1 bars.
        volatility: standard deviation of the log return per bar, not negative.

    Raises:
        ValueError: a lookback below 1.
    """
    if lookback < 1:
        raise ValueError(f"lookback must be at least 1, was {lookback}")
    chance = np.random.default_rng(seed)
    noise = _noise(shape, chance, np.full(shape.bars, volatility))
    drift, momentum = _follow(noise.sum(axis=1), edge, lookback)
    return Planted(_draw(shape, chance, noise, drift), momentum * np.sign(edge))


def switching_regimes(
    shape: Shape, *, seed: int, regimes: Sequence[Regime], stay: float = 0.99
) -> Switching:
    """A Markov chain over regimes drives drift and volatility.

    Args:
        shape: of the bars.
        seed: the same seed gives the same bars.
        regimes: at least two; the chain starts in the first and leaves to any other alike.
        stay: probability of no change from one bar to the next; 1 / (1 − stay) bars on average.

    Raises:
        ValueError: fewer than two regimes, or ``stay`` outside [0, 1].

    Source:
        Hamilton (1989), "A New Approach to the Economic Analysis of Nonstationary Time Series",
        Econometrica 57(2).
    """
    if len(regimes) < 2:
        raise ValueError(f"switching needs two regimes, there are {len(regimes)}")
    if not 0.0 <= stay <= 1.0:
        raise ValueError(f"stay must be a probability, was {stay}")
    chance = np.random.default_rng(seed)
    leaves = chance.random(shape.bars) >= stay
    leaves[0] = False
    steps = np.where(leaves, chance.integers(1, len(regimes), shape.bars), 0)
    regime = np.cumsum(steps).astype(np.int64) % len(regimes)
    drift = np.array([each.drift for each in regimes])[regime]
    volatility = np.array([each.volatility for each in regimes])[regime]
    noise = _noise(shape, chance, volatility)
    return Switching(_draw(shape, chance, noise, drift), regime)


def _noise(shape: Shape, chance: np.random.Generator, volatility: FloatVector) -> FloatMatrix:
    if (volatility < 0.0).any():
        raise ValueError("volatility must not be negative")
    moves = chance.standard_normal((shape.bars, shape.moves))
    return moves * (volatility / math.sqrt(shape.moves))[:, None]


@kernel
def _follow(returns: FloatVector, edge: float, lookback: int) -> tuple[FloatVector, FloatVector]:
    # The drift of a bar depends on the returns before it, drift included: hence a loop.
    drift, momentum = np.zeros(returns.size), np.zeros(returns.size)
    path = np.zeros(returns.size + 1)
    for t in range(returns.size):
        if t > 0:
            drift[t] = edge * momentum[t - 1]
        path[t + 1] = path[t] + drift[t] + returns[t]
        if t >= lookback:
            momentum[t] = np.sign(path[t + 1] - path[t + 1 - lookback])
    return drift, momentum


def _draw(
    shape: Shape, chance: np.random.Generator, noise: FloatMatrix, drift: FloatVector
) -> Bars:
    # Every bar's prices are read off one continuous path, so they cannot contradict each other:
    # a bar opens where the last one closed, plus a gap where the market was closed.
    moves = noise + (drift / shape.moves)[:, None]
    sessions = np.arange(shape.bars) // (shape.session_bars or shape.bars)
    gap = np.zeros(shape.bars)
    opens_session = np.diff(sessions, prepend=0) > 0
    gap[opens_session] = chance.normal(0.0, shape.gap_volatility, int(opens_session.sum()))
    start = np.cumsum(gap) + np.concatenate([[0.0], np.cumsum(moves.sum(axis=1))[:-1]])
    path = start[:, None] + np.concatenate(
        [np.zeros((shape.bars, 1)), np.cumsum(moves, axis=1)], axis=1
    )
    price = _rounded(shape.price * np.exp(path), shape.tick)
    busy = 1.0 + np.abs(moves.sum(axis=1)) / (np.abs(noise).sum(axis=1) + 1e-300)
    time = shape.start_ns + np.arange(shape.bars, dtype=np.int64) * shape.interval_ns
    return Bars(
        time=time + sessions.astype(np.int64) * shape.closed_ns,
        open=price[:, 0].copy(),
        high=price.max(axis=1),
        low=price.min(axis=1),
        close=price[:, -1].copy(),
        volume=np.round(shape.volume * busy * chance.lognormal(0.0, 0.5, shape.bars), 4),
    )


def _rounded(price: FloatMatrix, tick: float) -> FloatMatrix:
    if tick == 0.0:
        return price
    per_unit = round(1.0 / tick)
    k = np.maximum(1.0, np.round(price / tick))
    # As in the fill kernel: to divide by 100 gives the float of the decimal, to multiply by 0.01
    # does not.
    return k / per_unit if per_unit and abs(per_unit * tick - 1.0) < 1e-9 else k * tick
