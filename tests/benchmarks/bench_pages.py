"""How long the server takes for a page of a full account: 5,000 signals, as many orders.

python -m tests.benchmarks --only pages
"""

import json
import os
import sys
import time

import psycopg

from tests import servers

SIGNALS = 5_000
TIMES = 15
THRESHOLD_MS = 150.0


def main() -> int:
    own = servers.database("bench")
    os.environ |= own.environment() | {"PINELAB_VAR": str(own.var / "bench")}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pinelab.settings")
    import django

    django.setup()
    from django.conf import settings

    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    from tests.apps.portal.desk import LISTS, live_through, market
    from tests.factories import make_client, make_tenant

    tenant = make_tenant("full@example.com", "Full")
    day = live_through(tenant, market(), signals=SIGNALS)
    assert own.admin_url
    with psycopg.connect(own.admin_url, autocommit=True) as admin:
        # As autovacuum does within a minute of so many rows.
        admin.execute("ANALYZE")
    client = make_client(tenant)
    client.defaults["SERVER_NAME"] = "localhost"
    took = {}
    for address in [*LISTS, *day.addresses(), "/health/live"]:
        client.get(address)
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            assert client.get(address).status_code == 200, address
            times.append(1000 * (time.perf_counter() - began))
        took[address] = sorted(times)[TIMES // 2]
    reference = took.pop("/health/live")
    slowest = max(took, key=lambda address: took[address])
    result = {
        "bench": "pages",
        "value": round(took[slowest], 1),
        "unit": "ms",
        "reference": round(reference, 1),
        "ratio": round(took[slowest] / reference, 1),
        "threshold": THRESHOLD_MS,
        "ok": took[slowest] < THRESHOLD_MS,
        "slowest": slowest.replace(str(day.account.pk), "<id>"),
        "next": sorted(((round(ms), at[:12]) for at, ms in took.items()), reverse=True)[1:6],
        "median": round(sorted(took.values())[len(took) // 2], 1),
    }
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
