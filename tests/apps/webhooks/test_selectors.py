"""The delivery log and the texts that a user copies into TradingView."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import uuid4

from django.test import override_settings

from apps.accounts.models import Tenant
from apps.core.tenancy import acting_for
from apps.webhooks import formats, selectors
from apps.webhooks.models import Alert, Endpoint, Refusal, Repeat
from tests.factories import NOON, make_alert

MakeEndpoint = Callable[[Tenant], tuple[Endpoint, str]]


def alert_at(
    tenant: Tenant, endpoint: Endpoint, at: datetime, body: bytes = b"buy", **values: object
) -> Alert:
    alert = make_alert(tenant, endpoint, body)
    with acting_for(tenant):
        Alert.objects.filter(pk=alert.pk).update(received_at=at, **values)
    return alert


def refuse(tenant: Tenant, endpoint: Endpoint, at: datetime, count: int = 1) -> Refusal:
    with acting_for(tenant):
        refusal: Refusal = Refusal.objects.create(
            endpoint=endpoint,
            minute=at.replace(second=0),
            code="too-many-requests",
            status=429,
            count=count,
            last_at=at,
        )
    return refusal


def repeat(tenant: Tenant, alert: Alert, count: int) -> None:
    with acting_for(tenant):
        Repeat.objects.create(alert_id=alert.pk, count=count, last_at=NOON)


class TestDeliveries:
    def test_alerts_and_refusals_are_one_list_newest_first(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, _ = endpoint_of(alice)
        old = alert_at(alice, endpoint, NOON)
        refused = refuse(alice, endpoint, NOON + timedelta(seconds=1), count=7)
        new = alert_at(
            alice,
            endpoint,
            NOON + timedelta(seconds=2),
            b'{"ticker":',
            status="decided",
            message_code="unparseable",
        )
        repeat(alice, new, 3)

        with acting_for(alice):
            lines = selectors.deliveries()

        assert [line.id for line in lines] == [new.pk, refused.pk, old.pk]
        assert [line.outcome for line in lines] == ["decided", "refused", "stored"]
        assert [line.count for line in lines] == [4, 7, 1]
        assert [line.status for line in lines] == [202, 429, 202]
        assert "broken" in lines[0].explanation
        assert lines[0].hint
        assert lines[0].preview == '{"ticker":'
        assert "More alerts" in lines[1].explanation
        assert (lines[2].explanation, lines[2].hint) == ("", "")

    def test_pages_join_without_a_gap_or_a_repeat(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, _ = endpoint_of(alice)
        for second in range(7):
            # Three at each moment: the time alone would not tell where a page ended.
            at = NOON + timedelta(seconds=second // 3)
            alert_at(alice, endpoint, at, b"%d" % second)
        refuse(alice, endpoint, NOON)

        with acting_for(alice):
            whole = [line.id for line in selectors.deliveries()]
            paged: list[object] = []
            place = None
            while lines := selectors.deliveries(before=place, limit=3):
                paged += [line.id for line in lines]
                place = (lines[-1].at, lines[-1].id)

        assert len(whole) == 8
        assert paged == whole

    def test_one_endpoints_alone(self, alice: Tenant, endpoint_of: MakeEndpoint) -> None:
        first, second = endpoint_of(alice)[0], endpoint_of(alice)[0]
        alert_at(alice, first, NOON)
        refuse(alice, first, NOON)
        hers = alert_at(alice, second, NOON)

        with acting_for(alice):
            lines = selectors.deliveries(endpoint_id=second.pk)

        assert [line.id for line in lines] == [hers.pk]

    def test_another_tenants_do_not_exist(
        self, alice: Tenant, bob: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, _ = endpoint_of(alice)
        alert_at(alice, endpoint, NOON)
        refuse(alice, endpoint, NOON)

        with acting_for(bob):
            assert selectors.deliveries() == []
            assert selectors.deliveries(endpoint_id=endpoint.pk) == []

    def test_a_preview_shows_bytes_that_are_no_text(self) -> None:
        assert selectors.preview(b"a\xff\0\r\n\x1bb" + b"x" * 500).startswith("a\ufffd b")


class TestWhenAndHowMany:
    def test_an_endpoint_that_heard_nothing_says_so(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, _ = endpoint_of(alice)

        with acting_for(alice):
            assert selectors.last_received(endpoint) is None

    def test_the_newest_alert_counts_and_a_replay_does_not(
        self, alice: Tenant, endpoint_of: MakeEndpoint
    ) -> None:
        endpoint, _ = endpoint_of(alice)
        alert = alert_at(alice, endpoint, NOON)
        alert_at(alice, endpoint, NOON + timedelta(hours=1), replay_of=alert)

        with acting_for(alice):
            assert selectors.last_received(endpoint) == NOON

    def test_a_day_is_a_day_in_utc(self, alice: Tenant, endpoint_of: MakeEndpoint) -> None:
        endpoint, other = endpoint_of(alice)[0], endpoint_of(alice)[0]
        midnight = NOON.replace(hour=0)
        alert = alert_at(alice, endpoint, midnight)
        repeat(alice, alert, 3)
        alert_at(alice, endpoint, midnight - timedelta(seconds=1))
        alert_at(alice, other, midnight)
        refuse(alice, endpoint, midnight, count=5)

        with acting_for(alice):
            everything = selectors.counts_per_day(since=midnight - timedelta(days=1))
            one = selectors.counts_per_day(since=midnight, endpoint_id=endpoint.pk)

        assert [(d.on.day, d.alerts, d.repeats, d.refusals) for d in everything] == [
            (1, 1, 0, 0),
            (2, 2, 3, 5),
        ]
        assert [(d.on.day, d.alerts, d.repeats, d.refusals) for d in one] == [(2, 1, 3, 5)]


class TestWhatTheUserCopies:
    @override_settings(HOOKS_URL="https://hooks.example.com")
    def test_the_address_comes_from_the_settings(self) -> None:
        token = uuid4().hex

        assert selectors.intake_url(token) == f"https://hooks.example.com/hooks/{token}"
        assert selectors.intake_url(token) in selectors.curl_line(token)

    def test_the_strategys_message_is_read_as_the_order_that_was_filled(self) -> None:
        message = filled(selectors.tradingview_message())

        reading = formats.parse(message.encode())

        assert reading.error is None
        assert reading.action == "buy"
        assert json.loads(message)["id"] == "BTCUSDT-15-2026-01-05T14:30:02Z-Long-buy-0.25"

    def test_the_indicators_message_is_read_as_the_action_it_was_made_for(self) -> None:
        for action in ("buy", "sell", "exit"):
            message = filled(selectors.tradingview_message(action=action))
            reading = formats.parse(message.encode())

            assert reading.error is None
            assert reading.ticker

    def test_both_are_one_line_of_json_before_and_after(self) -> None:
        for message in (
            selectors.tradingview_message(),
            selectors.tradingview_message(action="buy"),
        ):
            assert "\n" not in message
            assert set(json.loads(message)) == set(json.loads(filled(message)))


FILLED = {
    "ticker": "BTCUSDT",
    "exchange": "BINANCE",
    "interval": "15",
    "close": "64250.1",
    "time": "2026-01-05T14:15:00Z",
    "timenow": "2026-01-05T14:30:02Z",
    "strategy.order.action": "buy",
    "strategy.order.contracts": "0.25",
    "strategy.order.price": "64250.1",
    "strategy.order.id": "Long",
    "strategy.market_position": "long",
    "strategy.position_size": "0.25",
    "strategy.prev_market_position": "flat",
}


def filled(message: str) -> str:
    """What TradingView would send."""
    return re.sub(r"\{\{(.+?)\}\}", lambda found: FILLED[found[1]], message)
