"""One name, one definition, one column: indicators as Pine v6 computes them, seeding included."""

import numpy as np

from ml.jit import kernel
from ml.types import FloatVector


@kernel
def smooth(values: FloatVector, first: int, length: int, alpha: float) -> FloatVector:
    """Exponential smoothing seeded with a plain mean.

        y_{f+n−1} = mean(x_f … x_{f+n−1}),     y_t = α·x_t + (1 − α)·y_{t−1},     NaN before

    Args:
        values: (T,) x, without NaN from ``first`` on.
        first: index f of the first value, not negative.
        length: n ≥ 1.
        alpha: α in (0, 1].

    Returns:
        (T,)
    """
    smoothed = np.full(values.size, np.nan)
    seeded = first + length - 1
    if seeded >= values.size:
        return smoothed
    total = 0.0
    for t in range(first, seeded + 1):
        total += values[t]
    smoothed[seeded] = total / length
    for t in range(seeded + 1, values.size):
        smoothed[t] = alpha * values[t] + (1.0 - alpha) * smoothed[t - 1]
    return smoothed


def ema(values: FloatVector, length: int) -> FloatVector:
    """``ta.ema``: α = 2 / (n + 1), seeded with the mean of the first n values.

    The sample code in Pine's reference seeds with the first value; the built-in does not.

    Args:
        values: (T,) any unit.
        length: n bars.

    Returns:
        (T,) in the unit of ``values``, NaN for t < n − 1.
    """
    return smooth(values, 0, _positive(length), 2.0 / (length + 1))


def rma(values: FloatVector, length: int) -> FloatVector:
    """``ta.rma``, Wilder's average: α = 1 / n, seeded with the mean of the first n values.

    Args:
        values: (T,) any unit.
        length: n bars.

    Returns:
        (T,) in the unit of ``values``, NaN for t < n − 1.

    Source:
        Wilder (1978), "New Concepts in Technical Trading Systems".
    """
    return smooth(values, 0, _positive(length), 1.0 / length)


def rsi(close: FloatVector, length: int) -> FloatVector:
    """``ta.rsi``: 100 − 100 / (1 + rma(gains) / rma(losses)).

    The first bar has no change, so the seed is the mean of changes 1 … n. Without a loss it is 100.

    Args:
        close: (T,) quote currency per unit.
        length: n bars.

    Returns:
        (T,) 0 to 100, NaN for t < n.

    Source:
        Wilder (1978), "New Concepts in Technical Trading Systems".
    """
    _positive(length)
    change = np.diff(close, prepend=close[:1])
    gain = smooth(np.maximum(change, 0.0), 1, length, 1.0 / length)
    loss = smooth(np.maximum(-change, 0.0), 1, length, 1.0 / length)
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = 100.0 - 100.0 / (1.0 + gain / loss)
    return np.where(loss == 0.0, 100.0, strength)


def true_range(high: FloatVector, low: FloatVector, close: FloatVector) -> FloatVector:
    """``ta.tr(true)``: max(high, previous close) − min(low, previous close); high − low at first.

    Args:
        high: (T,) quote currency per unit, as are the others.
        low: (T,)
        close: (T,)

    Returns:
        (T,) quote currency per unit.
    """
    before = np.concatenate([close[:1], close[:-1]])
    widest: FloatVector = np.maximum(high, before) - np.minimum(low, before)
    widest[:1] = high[:1] - low[:1]
    return widest


def atr(high: FloatVector, low: FloatVector, close: FloatVector, length: int) -> FloatVector:
    """``ta.atr``: rma of ``true_range``.

    Args:
        high: (T,) quote currency per unit, as are the others.
        low: (T,)
        close: (T,)
        length: n bars.

    Returns:
        (T,) quote currency per unit, NaN for t < n − 1.

    Source:
        Wilder (1978), "New Concepts in Technical Trading Systems".
    """
    return rma(true_range(high, low, close), length)


@kernel
def sma(values: FloatVector, length: int) -> FloatVector:
    """``ta.sma``: mean of the last n values, NaN for t < n − 1.

    Each window is added up anew. A running sum would be quicker, but it carries rounding from bars
    outside the window, and the same window would then not always give the same number.

    Args:
        values: (T,) any unit.
        length: n ≥ 1 bars.

    Returns:
        (T,) in the unit of ``values``.
    """
    means = np.full(values.size, np.nan)
    for t in range(length - 1, values.size):
        total = 0.0
        for back in range(length):
            total += values[t - back]
        means[t] = total / length
    return means


@kernel
def deviation(values: FloatVector, length: int) -> FloatVector:
    """Sample standard deviation of the last n values, NaN where the window is not full.

        s_t = √( Σ (x − mean)² / (n − 1) )

    Args:
        values: (T,) any unit; a NaN makes every window that holds it NaN.
        length: n ≥ 2 bars.

    Returns:
        (T,) in the unit of ``values``.
    """
    deviations = np.full(values.size, np.nan)
    for t in range(length - 1, values.size):
        total = 0.0
        for back in range(length):
            total += values[t - back]
        mean, squares = total / length, 0.0
        for back in range(length):
            squares += (values[t - back] - mean) ** 2
        deviations[t] = np.sqrt(squares / (length - 1))
    return deviations


@kernel
def range_position(
    high: FloatVector, low: FloatVector, close: FloatVector, length: int
) -> FloatVector:
    """Where the close stands between the lowest low and the highest high of the last n bars.

        (close − lowest) / (highest − lowest), and ½ where all n bars have one price

    Args:
        high: (T,) quote currency per unit, as are the others.
        low: (T,)
        close: (T,)
        length: n ≥ 1 bars.

    Returns:
        (T,) 0 to 1, NaN for t < n − 1.
    """
    positions = np.full(close.size, np.nan)
    for t in range(length - 1, close.size):
        highest, lowest = high[t], low[t]
        for back in range(1, length):
            highest = max(highest, high[t - back])
            lowest = min(lowest, low[t - back])
        positions[t] = 0.5
        if highest > lowest:
            positions[t] = (close[t] - lowest) / (highest - lowest)
    return positions


def _positive(length: int) -> int:
    if length < 1:
        raise ValueError(f"length must be at least 1, was {length}")
    return length
