"""The invariants as SQL over all tenants: what a query returns is a violation."""

from collections.abc import Iterable
from typing import Final

from tests.chaos.harness import Service, until
from tests.chaos.load import Ledger

# Every alert that is decided reached its one deployment, or was refused before any.
DECIDED_ONCE: Final = """
SELECT a.id, count(d.id) FROM webhooks_alert a LEFT JOIN signals_decision d ON d.alert_id = a.id
GROUP BY a.id HAVING count(d.id) <> 1
"""
SIGNALED_ONCE: Final = """
SELECT alert_id, count(*) FROM signals_signal GROUP BY alert_id HAVING count(*) > 1
"""
# An accepted decision has its order, and no other has one.
ORDERS_OF_DECISIONS: Final = """
SELECT d.id, d.outcome, d.code, count(o.id)
FROM signals_decision d
LEFT JOIN trading_order o ON o.signal_id = d.signal_id AND o.deployment_id = d.deployment_id
  AND o.parent_id IS NULL
GROUP BY d.id, d.outcome, d.code
HAVING d.outcome IN ('accepted', 'reduced') AND d.code <> 'cancel' AND count(o.id) NOT IN (1, 2)
    OR d.outcome IN ('rejected', 'duplicate') AND count(o.id) > 0
"""
ORDERED_ONCE: Final = """
SELECT signal_id, deployment_id, role, reduce_only, count(*) FROM trading_order
WHERE signal_id IS NOT NULL
GROUP BY signal_id, deployment_id, role, reduce_only HAVING count(*) > 1
"""
# A send that committed at the venue, in whatever way the venue took it, happened once.
SENT_ONCE: Final = """
SELECT s.tenant_id, s.client_order_id, count(*) FROM witness.send s
GROUP BY s.tenant_id, s.client_order_id HAVING count(*) > 1
"""
WRITTEN_BEFORE_SENT: Final = """
SELECT client_order_id, status, has_passed_risk, is_committed_before FROM witness.send
WHERE status IS DISTINCT FROM 'submitting' OR NOT has_passed_risk OR NOT is_committed_before
"""
# The venue has nothing that we did not send, and all that we believe it has.
VENUE_ORDERS: Final = """
SELECT coalesce(o.client_order_id, p.client_order_id), o.status, p.status
FROM trading_order o FULL JOIN trading_paperorder p
  ON p.tenant_id = o.tenant_id AND p.client_order_id = o.client_order_id
WHERE o.id IS NULL
   OR p.id IS NULL AND (o.status IN ('accepted', 'partially_filled', 'filled'))
   OR p.status = 'filled' AND o.status NOT IN ('filled', 'canceled')
   OR p.status IN ('working', 'asleep') AND o.status NOT IN ('accepted', 'partially_filled')
"""
FILLS_ARE_EXECUTIONS: Final = """
SELECT coalesce(f.account_id, e.account_id), f.execution_id, e.sequence
FROM trading_fill f FULL JOIN trading_paperexecution e
  ON e.account_id = f.account_id AND f.execution_id = 'paper-' || e.sequence
WHERE f.id IS NULL OR e.id IS NULL
   OR (f.side, f.quantity, f.price, f.fee) IS DISTINCT FROM (e.side, e.quantity, e.price, e.fee)
"""
ORDERS_ARE_THEIR_FILLS: Final = """
SELECT o.id, o.status, o.quantity, o.filled_quantity, sum(f.quantity)
FROM trading_order o LEFT JOIN trading_fill f ON f.order_id = o.id
GROUP BY o.id
HAVING o.filled_quantity <> coalesce(sum(f.quantity), 0)
    OR (o.status = 'filled') <> (o.filled_quantity = o.quantity)
"""
POSITIONS_ARE_THEIR_FILLS: Final = """
SELECT p.account_id, p.instrument_id, p.quantity, f.quantity, h.quantity
FROM trading_position p
FULL JOIN (
  SELECT account_id, instrument_id, sum(CASE side WHEN 'buy' THEN quantity ELSE -quantity END)
    AS quantity, sum(fee) AS fees, sum(realized) AS realized
  FROM trading_fill GROUP BY account_id, instrument_id
) f USING (account_id, instrument_id)
FULL JOIN trading_paperholding h USING (account_id, instrument_id)
WHERE p.quantity IS DISTINCT FROM f.quantity OR p.quantity IS DISTINCT FROM h.quantity
   OR p.fees IS DISTINCT FROM f.fees OR p.realized IS DISTINCT FROM f.realized
"""
CASH_IS_EXACT: Final = """
SELECT a.id, a.cash, a.starting_cash + sum(p.realized - p.fees - p.cost) AS expected
FROM trading_brokeraccount a JOIN trading_position p ON p.account_id = a.id
GROUP BY a.id HAVING a.cash <> a.starting_cash + sum(p.realized - p.fees - p.cost)
"""
TRADES_ARE_POSITIONS: Final = """
SELECT p.account_id, p.instrument_id, p.quantity, t.open_quantity, p.realized - p.fees, t.profit
FROM trading_position p JOIN (
  SELECT account_id, instrument_id, sum(profit) AS profit,
    sum(CASE direction WHEN 'long' THEN 1 ELSE -1 END * (entry_quantity - exit_quantity))
      AS open_quantity
  FROM trading_trade GROUP BY account_id, instrument_id
) t USING (account_id, instrument_id)
WHERE p.quantity <> t.open_quantity OR p.realized - p.fees <> t.profit
"""
# A stop or target whose entry has gone without it would leave a position unprotected.
NO_CHILD_LEFT_BEHIND: Final = """
SELECT c.id, c.role, c.status, p.status FROM trading_order c
JOIN trading_order p ON p.id = c.parent_id
WHERE c.status = 'new' AND p.status <> 'new'
"""
NO_GAP_IN_EVENTS: Final = """
SELECT e.tenant_id, count(*), min(e.sequence), max(e.sequence), h.sequence
FROM core_event e JOIN core_eventhead h USING (tenant_id)
GROUP BY e.tenant_id, h.sequence
HAVING count(*) <> max(e.sequence) OR max(e.sequence) <> h.sequence OR min(e.sequence) <> 1
"""
# By the order of commits: a claim that became visible after the halt did.
NO_CLAIM_AFTER_HALT: Final = """
WITH halt AS (
  SELECT tenant_id, is_halted, pg_xact_commit_timestamp(transaction) AS at FROM witness.halt
), claim AS (
  SELECT *, pg_xact_commit_timestamp(transaction) AS committed_at FROM witness.claim
  WHERE NOT reduce_only
)
SELECT c.order_id, c.committed_at, c.halted FROM claim c
WHERE c.halted OR (
  SELECT h.is_halted FROM halt h
  WHERE (h.tenant_id = c.tenant_id OR h.tenant_id IS NULL) AND h.at < c.committed_at
  ORDER BY h.at DESC LIMIT 1
)
"""

INVARIANTS: Final = {
    "4 exactly one decision for each alert": DECIDED_ONCE,
    "4 one signal of an alert at most": SIGNALED_ONCE,
    "8 orders as decided": ORDERS_OF_DECISIONS,
    "8 one order for one intent": ORDERED_ONCE,
    "8 sent once": SENT_ONCE,
    "8 the venue's orders are ours": VENUE_ORDERS,
    "9 written before sent": WRITTEN_BEFORE_SENT,
    "12 fills are the venue's executions": FILLS_ARE_EXECUTIONS,
    "12 orders are their fills": ORDERS_ARE_THEIR_FILLS,
    "12 positions are their fills and the venue's holdings": POSITIONS_ARE_THEIR_FILLS,
    "12 trades are positions": TRADES_ARE_POSITIONS,
    "15 no claim after a halt": NO_CLAIM_AFTER_HALT,
    "17 no protection left behind": NO_CHILD_LEFT_BEHIND,
    "18 cash to the last decimal": CASH_IS_EXACT,
    "events without a gap": NO_GAP_IN_EVENTS,
}

UNDECIDED: Final = "SELECT id FROM webhooks_alert WHERE status = 'stored' LIMIT 1"
UNDONE: Final = """
SELECT id::text FROM trading_order
WHERE status IN ('new', 'submitting', 'unknown')
   OR kind = 'market' AND status IN ('accepted', 'partially_filled')
   OR cancel_requested_at IS NOT NULL AND status IN ('accepted', 'partially_filled')
UNION ALL
SELECT b.account_id::text FROM trading_paperbook b JOIN trading_brokeraccount a
  ON a.id = b.account_id WHERE b.sequence <> a.execution_cursor
UNION ALL
SELECT o.client_order_id FROM trading_order o JOIN trading_paperorder p
  ON p.tenant_id = o.tenant_id AND p.client_order_id = o.client_order_id
WHERE p.status IN ('filled', 'canceled') AND o.status IN ('accepted', 'partially_filled')
LIMIT 1
"""


def settled(service: Service, *, patience_s: float = 60.0) -> float:
    """Wait until every alert is decided and every order has come to rest.

    Returns:
        Seconds until the last alert was decided.
    """

    def nothing(query: str) -> bool:
        service.raise_the_dead()
        return not service.stores.rows(query)

    try:
        took = until(lambda: nothing(UNDECIDED), patience_s=patience_s, what="all alerts decided")
        until(lambda: nothing(UNDONE), patience_s=patience_s, what="all orders at rest")
    except TimeoutError:
        # What is broken says more than what is late.
        hold(service)
        raise
    return took


def hold(service: Service) -> None:
    """Every invariant holds; what does not is named with its first rows."""
    broken = {
        name: rows[:3] for name, query in INVARIANTS.items() if (rows := service.stores.rows(query))
    }
    assert not broken, broken


def lost(service: Service, ledger: Ledger) -> set[str]:
    """Alerts that were answered with success and are not there."""
    stored = {str(row[0]) for row in service.stores.rows("SELECT id FROM webhooks_alert")}
    return ledger.acked - stored


def outcomes(service: Service, tenants: Iterable[str]) -> dict[str, int]:
    """How often each code was decided."""
    return dict(
        service.stores.rows(
            "SELECT code, count(*) FROM signals_decision WHERE tenant_id = ANY(%s::uuid[])"
            " GROUP BY code",
            list(tenants),
        )
    )
