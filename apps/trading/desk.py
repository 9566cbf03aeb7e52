"""The desk: sends each order once, learns what became of it, books the fills.

    new ─claim─▶ submitting ─send─▶ accepted ─▶ filled        committed before and after the send
                     │                              ▲
                     └─▶ unknown ─ask the venue─────┘         never sent again before it has said

The claim takes share locks on the kill switches, so a halt that has committed is seen by every
later claim. Locks are taken in one order everywhere: switches, accounts, orders, positions,
event heads. The work itself is in ``sending``, ``learning``, ``canceling``, ``reconciling``.
"""

from datetime import datetime

from apps.trading import canceling, learning, marking, reconciling, sending, switch
from apps.trading.brokers import BROKERS
from apps.trading.canceling import cancel_requested
from apps.trading.learning import collect, follow_open_orders, step_paper_market
from apps.trading.sending import claim, dispatch, note_answers

__all__ = [
    "begin",
    "cancel_requested",
    "claim",
    "collect",
    "dispatch",
    "follow_open_orders",
    "mark_open_accounts",
    "note_answers",
    "poll",
    "reconcile",
    "step_paper_market",
    "work",
]


def work(*, now: datetime) -> int:
    """One round of the desk: everything that can be done now; how much was done."""
    # Before anything is sent or filled: what was asked to go must not be in the way.
    done = canceling.cancel_requested(now=now)
    done += sending.dispatch(now=now)
    done += learning.step_paper_market(now=now)
    done += learning.collect(now=now)
    return done


def begin(*, now: datetime) -> None:
    """What the desk does before its first round: orders in doubt, accounts that differ."""
    reconcile(now=now)
    reconciling.begin(now=now)


def reconcile(*, now: datetime) -> int:
    """Resolve orders in doubt and accounts that differ, and flatten what a halt has not."""
    done = learning.reconcile(now=now)
    done += reconciling.settle(now=now)
    return done + switch.flatten_what_is_left(now=now)


def poll(*, now: datetime) -> int:
    """Ask the venues about all open orders: the guarantee behind what they tell unasked."""
    return sum(learning.follow_open_orders(broker, now=now) for broker in BROKERS)


def mark_open_accounts(*, now: datetime) -> None:
    """Note the equity of every account that holds something."""
    marking.mark_open_accounts(now=now)
