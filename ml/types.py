"""Names for the arrays that cross a border inside ml; shapes are said in each docstring."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatVector: TypeAlias = NDArray[np.float64]
"""(N,) or (T,) float64: prices, quantities, indicator columns; NaN is a missing value."""

FloatMatrix: TypeAlias = NDArray[np.float64]
"""(T, K) float64: time on axis 0, one column per feature, asset or variant."""

IntVector: TypeAlias = NDArray[np.int64]
"""(N,) int64: nanoseconds since 1970 UTC, row numbers, ages."""

IndexVector: TypeAlias = NDArray[np.int32]
"""(N,) int32: slot or group numbers inside a small table."""

CodeVector: TypeAlias = NDArray[np.int8]
"""(N,) int8: one of a handful of named constants."""

BoolVector: TypeAlias = NDArray[np.bool_]
"""(N,) bool: masks and flags."""
