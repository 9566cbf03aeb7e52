"""The service under fire: real processes on real servers, killed at random instants under load.

`make test` runs the short forms (marker `chaos`), `make chaos` these and the full ones
(`chaos_full`: 64 senders, 60 kills, tens of thousands of alerts, about a quarter of an hour).
What each test guards, and what was broken to see it fail, is the table of docs/reliability.md.

    stores.py    a PostgreSQL and a Redis of the tests' own: killing them hurts nobody
    harness.py   the processes of pinelab/processes.py on them, by the real commands
    cast.py      tenants with an endpoint, an account, a deployment and a key, made by the service
    market.py    a market of one bar in a fraction of a second, so that orders fill
    load.py      senders that follow TradingView's rules, and the ledger of what was answered
    monkey.py    who dies when
    witness.sql  triggers that note each claim, each send and each halt in their own transaction
    checks.py    the invariants as SQL: what a query returns is a violation

Every random choice comes from one seed, which a failure prints; PINELAB_CHAOS_SEED repeats it.
The instants depend on the machine too, so a repetition is close and not exact. The logs of the
processes of the last run are in var/test/chaos-main/log.
"""
