"""Invariant 6: bodies that mean harm cost little, get a code each, and move no order."""

import random

import pytest

from tests.chaos import checks, load
from tests.chaos.harness import Service

LARGEST = 128 * 1024


def said(**fields: object) -> bytes:
    """A good alert but for some fields, written without a JSON library's help."""
    shown = {"ticker": '"AAAUSD"', "exchange": '"TEST"', "action": '"buy"', "quantity": "1"}
    shown |= {name: str(value) for name, value in fields.items()}
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in shown.items()) + "}").encode()


HOSTILE = {
    "a megabyte": b"x" * 2**20,
    "one byte too many": b"x" * (LARGEST + 1),
    "not UTF-8": b'\xff\xfe\xfa{"ticker": "AAAUSD\xc3\x28", "action": "buy", "quantity": 1}',
    "half a character": said(action='"buy').rstrip(b"}") + b"\xe2\x82",
    "100,000 brackets": b"[" * 100_000,
    "100,000 deep and closed": b"[" * 50_000 + b"]" * 50_000,
    "25,000 objects deep": b'{"a":' * 25_000,
    "only quotes": b'"' * LARGEST,
    "only backslashes": b'"' + b"\\" * (LARGEST - 1),
    "only words": b"buy " * (LARGEST // 4),
    "only braces": b"{}" * (LARGEST // 2),
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(9_000)) + b"}",
    "NaN": said(quantity="NaN"),
    "Infinity": said(quantity="Infinity"),
    "minus Infinity": said(quantity="-Infinity"),
    "1e999999": said(quantity="1e999999"),
    "1e999999 as text": said(quantity='"1e999999"'),
    "1e-999999": said(quantity="1e-999999"),
    "5,000 digits": said(quantity="9" * 5_000),
    "a price of 1e400": said(price="1e400", order_type='"limit"'),
    "minus one": said(quantity="-1"),
    "zero": said(quantity="0"),
    "NaN as text": said(quantity='"NaN"'),
    "hexadecimal": said(quantity='"0x10"'),
    "a quantity that is a list": said(quantity="[1, 2]"),
    "a quantity that is an object": said(quantity='{"$gt": 0}'),
    "two actions": b'{"ticker":"AAAUSD","exchange":"TEST","action":"buy","action":"sell"}',
    "two quantities": b'{"ticker":"AAAUSD","action":"buy","quantity":1,"quantity":1000}',
    "an unknown letter": said(ticker='"ÅÅÅUSD"'),
    "letters that look alike": said(ticker='"АААUSD"'),
    "a picture": said(ticker='"💥"'),
    "no ticker": said(ticker='""'),
    "a space": said(ticker='" "'),
    "half a surrogate": said(ticker='"\\ud800"'),
    "a null in the ticker": said(ticker='"AAA\\u0000USD"'),
    "null bytes": b"\x00" * 1_000,
    "null bytes between": said().replace(b"buy", b"b\x00u\x00y"),
    "a statement": said(ticker='"AAAUSD\'; DROP TABLE trading_order; --"'),
    "a template": said(ticker='"{{constructor}}${7*7}"'),
    "nothing": b"",
    "blanks": b" \r\n\t",
    "null": b"null",
    "a number": b"42",
    "an empty object": b"{}",
    "an empty list": b"[]",
    "buy and sell": b"buy sell AAAUSD",
}


@pytest.mark.chaos
class TestHostileBodies:
    """Mutant: json.loads in place of bodies.strict."""

    def test_get_a_code_each_and_hold_up_nobody(
        self, service: Service, chance: random.Random
    ) -> None:
        hostile, honest = service.take(2)
        sends = [(hostile.token, body) for body in HOSTILE.values()]
        chance.shuffle(sends)
        for place in range(0, 2 * len(sends), 2):
            sends.insert(place, (honest.token, load.alert()))

        ledger = load.post_all(service.port("hooks"), sends, lines=8)
        checks.settled(service)

        assert set(ledger.statuses) == {202, 413}
        assert ledger.statuses[413] == 2
        assert checks.lost(service, ledger) == set()
        assert self.accepted(service, hostile.tenant_id) == []
        assert self.without_code(service, hostile.tenant_id) == []
        assert checks.outcomes(service, [honest.tenant_id]) == {"ok": len(HOSTILE)}
        assert self.slowest_s(service, honest.tenant_id) < 5
        checks.hold(service)

    def accepted(self, service: Service, tenant_id: str) -> list[tuple[object, ...]]:
        return service.stores.rows(
            "SELECT left(encode(a.body, 'escape'), 120), d.outcome, d.text"
            " FROM signals_decision d JOIN webhooks_alert a ON a.id = d.alert_id"
            " WHERE d.tenant_id = %s AND d.outcome IN ('accepted', 'reduced')",
            tenant_id,
        )

    def without_code(self, service: Service, tenant_id: str) -> list[tuple[object, ...]]:
        return service.stores.rows(
            "SELECT left(encode(a.body, 'escape'), 120), d.code, a.message_code"
            " FROM signals_decision d JOIN webhooks_alert a ON a.id = d.alert_id"
            " WHERE d.tenant_id = %s AND (d.code IN ('', 'internal_error') OR d.text = '')",
            tenant_id,
        )

    def slowest_s(self, service: Service, tenant_id: str) -> float:
        rows = service.stores.rows(
            "SELECT extract(epoch FROM max(decided_at - received_at)) FROM webhooks_alert"
            " WHERE tenant_id = %s",
            tenant_id,
        )
        return float(rows[0][0])
