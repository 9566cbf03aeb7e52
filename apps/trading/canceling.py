"""Canceling: what was asked for is carried out, before anything new is sent."""

from datetime import datetime

from apps.core.tenancy import acting_across
from apps.trading import learning, progress
from apps.trading.brokers import BROKERS
from apps.trading.models import Order

BATCH = 500


def cancel_requested(*, now: datetime) -> int:
    """Carry out the cancellations that were asked for; how many came to their end."""
    with acting_across("desk: cancellations"):
        asked = Order.objects.filter(cancel_requested_at__isnull=False)
        unsent = list(
            asked.filter(status=Order.Status.NEW).select_for_update().order_by("pk")[:BATCH]
        )
        waiting = Order.objects.filter(parent__in=[order.pk for order in unsent])
        children = list(waiting.filter(status=Order.Status.NEW).select_for_update().order_by("pk"))
        _close(unsent, "asked", now=now)
        _close(children, "parent_canceled", now=now)
        progress.save([*unsent, *children])
        sent = list(
            asked.filter(status__in=learning.FOLLOWED)
            .select_related("account")
            .order_by("cancel_requested_at")[:BATCH]
        )
        behind = list(
            Order.objects.filter(
                parent__in=[order.pk for order in sent], status__in=learning.FOLLOWED
            ).select_related("account")
        )
    done = len(unsent)
    for broker, orders in progress.by_broker(sent).items():
        BROKERS[broker].cancel(orders)
        # Children that waited for a canceled entry went with it.
        family = [*orders, *(child for child in behind if child.account.broker == broker)]
        done += learning.learn(family, BROKERS[broker].find(family), now=now)
    return done


def _close(orders: list[Order], code: str, *, now: datetime) -> None:
    progress.close(orders, Order.Status.CANCELED, code, progress.CANCELED[code], now=now)
