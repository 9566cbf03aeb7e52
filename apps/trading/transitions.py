"""The order's state machine: which status may follow which.

``functions.sql`` holds the same pairs as a trigger, so that a status that is not listed cannot be
written by anyone and a closed order cannot change; a test tries every pair through raw SQL.
"""

from typing import Final

NEXT: Final[dict[str, frozenset[str]]] = {
    "new": frozenset({"submitting", "denied", "canceled", "expired"}),
    "submitting": frozenset(
        {"accepted", "partially_filled", "filled", "canceled", "expired", "rejected", "unknown"}
    ),
    # Back to new only when the venue has proved that the order never arrived.
    "unknown": frozenset(
        {"new", "accepted", "partially_filled", "filled", "canceled", "expired", "rejected"}
    ),
    "accepted": frozenset({"partially_filled", "filled", "canceled", "expired", "rejected"}),
    "partially_filled": frozenset({"filled", "canceled", "expired"}),
    "filled": frozenset(),
    "canceled": frozenset(),
    "expired": frozenset(),
    "rejected": frozenset(),
    "denied": frozenset(),
}
CLOSED: Final = frozenset(status for status, following in NEXT.items() if not following)
