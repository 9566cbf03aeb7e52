"""The house compiler switch: every numba kernel is decorated with one of these two."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` to machine code, keeping the signature mypy sees.

    ``fastmath`` stays off: it lets the compiler assume no NaN, and a missing price is a NaN.

    The cache on disk knows a kernel by its own file only. A constant or kernel that another kernel
    uses therefore lives in the same file, or an edit would leave stale machine code behind.
    """
    return cast(Callable[P, R], njit(cache=True, fastmath=False)(function))


def bare_kernel(function: Callable[P, R]) -> Callable[P, R]:
    """``kernel`` for scalar code that allocates nothing: compiled without reference counting.

    Passing a tuple of arrays from kernel to kernel counts every array up and down, which made the
    fill kernel sixteen times slower. Without it, code that does allocate is refused by the
    compiler, so a kernel meant for a GPU too cannot come to allocate by accident.
    """
    # The option is numba's own for such kernels, hence the underscore, and absent from its types.
    compiled = njit(cache=True, fastmath=False, _nrt=False)  # type: ignore[call-overload]
    return cast(Callable[P, R], compiled(function))
