"""How fast a sender may send: token buckets in memory, one for each tenant."""

from collections.abc import Hashable
from dataclasses import dataclass, field

# Random tokens must not fill the memory; the buckets that are full again go first.
MOST_BUCKETS = 100_000


@dataclass(slots=True)
class Rates:
    """Buckets that refill steadily and are as deep as a burst.

    Attributes:
        rate: alerts per second.
        burst: alerts at once, after a pause.
    """

    rate: float
    burst: float
    _buckets: dict[Hashable, tuple[float, float]] = field(default_factory=dict)

    def allows(self, key: Hashable, now: float) -> bool:
        """Take one from the bucket of ``key``; False when there is none left.

        Args:
            now: seconds on a clock that only goes forward.
        """
        left, at = self._buckets.get(key, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.rate)
        if left < 1.0:
            return False
        if len(self._buckets) >= MOST_BUCKETS:
            self.forget(now)
        self._buckets[key] = (left - 1.0, now)
        return True

    def forget(self, now: float) -> None:
        """Drop the buckets that are full again, or all when every one of them is in use."""
        full = [
            key
            for key, (left, at) in self._buckets.items()
            if left + (now - at) * self.rate >= self.burst
        ]
        for key in full:
            del self._buckets[key]
        if len(self._buckets) >= MOST_BUCKETS:
            self._buckets.clear()
