"""The score of a signal: an interface, and what is shown while no model serves it."""

from collections.abc import Sequence
from typing import Protocol

from apps.signals.models import Signal


class Scorer(Protocol):
    """Gives signals a calibrated probability that their trade ends in profit."""

    def score(self, signals: Sequence[Signal]) -> None:
        """Set ``score`` on each signal it can judge; the others keep None, "not scored"."""
        ...


class NoScorer:
    """No model is served: nothing is scored, and the pages say so."""

    def score(self, signals: Sequence[Signal]) -> None:
        return


def scorer() -> Scorer:
    """The scorer in service."""
    return NoScorer()
