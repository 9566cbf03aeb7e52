"""A market of one minute bars that last a fraction of a second: `python -m tests.chaos.market S`.

It continues where the database says it stands, so it may be killed like everybody else.
"""

import logging
import random
import sys
import time
from datetime import timedelta
from decimal import Decimal

STEP = Decimal("0.01")
MINUTE = timedelta(minutes=1)
log = logging.getLogger("chaos.market")


def main() -> None:
    import django

    django.setup()
    from django.db import InterfaceError, OperationalError, close_old_connections

    pause_s = float(sys.argv[1])
    while True:
        try:
            step()
        except (OperationalError, InterfaceError) as error:
            log.warning("the database is away (%s)", type(error).__name__)
            close_old_connections()
        time.sleep(pause_s)


def step() -> None:
    """Close each forming bar a little higher or lower, and open the next one there."""
    from apps.core.tenancy import acting_across
    from apps.marketdata import feed
    from apps.marketdata.feed import Kind, Message
    from apps.marketdata.models import Quote

    with acting_across("chaos: market"):
        news = []
        for quote in Quote.objects.select_for_update().order_by("pk"):
            # Near 100 for ever: a limit that binds must bind because of a quantity.
            price = Decimal(100) + STEP * random.randint(-20, 20)
            end = quote.opened_at + MINUTE
            if quote.is_forming:
                news.append(Message(Kind.CLOSE, quote.pk, quote.opened_at, price, end))
            news.append(Message(Kind.OPEN, quote.pk, end, price, end))
        feed.write(news)


if __name__ == "__main__":
    main()
