import base64
import json
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.utils import timezone

from apps.accounts.models import Tenant
from apps.core import bulk
from apps.core.models import Event
from apps.core.tenancy import acting_for
from apps.signals import intents, pipeline
from apps.signals.models import Decision, Signal
from apps.trading import desk as trading_desk
from apps.trading.models import Fill, Order, Position, Trade
from apps.webhooks.models import Alert, Endpoint
from tests.apps.signals.conftest import Desk, close_bar, open_bar
from tests.factories import make_account, make_deployment

BUY = {"ticker": "BTCUSD", "action": "buy", "quantity": 2}


class TestFromAlertToClosedTrade:
    def test_one_alert_becomes_a_trade_and_another_closes_it(self, desk: Desk) -> None:
        assert desk.decide(BUY).outcome == "accepted"
        trading_desk.work(now=timezone.now())
        assert desk.orders()[0].status == "accepted"
        close_bar(desk.instrument, 0, "101")
        open_bar(desk.instrument, 1, "102")
        trading_desk.work(now=timezone.now())
        with acting_for(desk.tenant):
            assert Order.objects.get().status == "filled"
            assert Fill.objects.get().price == 102
            assert Position.objects.get().quantity == 2

        desk.decide({"ticker": "BTCUSD", "action": "close"})
        trading_desk.work(now=timezone.now())
        close_bar(desk.instrument, 1, "103")
        open_bar(desk.instrument, 2, "110")
        trading_desk.work(now=timezone.now())

        with acting_for(desk.tenant):
            assert Position.objects.get().quantity == 0
            trade = Trade.objects.get()
            assert trade.closed_at is not None
            # 2 · (110 − 102) less 0.1 % of 204 and of 220.
            assert trade.profit == Decimal("16") - Decimal("0.424")
            desk.account.refresh_from_db()
            assert desk.account.cash == Decimal(100_000) + trade.profit


class TestDecisions:
    @pytest.mark.parametrize(
        ("body", "outcome", "code"),
        [
            (BUY, "accepted", "ok"),
            (BUY | {"ticker": "BTC/USD"}, "accepted", "ok"),
            (BUY | {"ticker": "NOSUCH"}, "rejected", "unknown_instrument"),
            (BUY | {"price": 150}, "rejected", "price_out_of_band"),
            (BUY | {"action": "close"}, "rejected", "nothing_to_close"),
            (BUY | {"action": "dance"}, "rejected", "no_action"),
            ({"ticker": "BTCUSD"}, "rejected", "no_action"),
            (BUY | {"orderType": "trailing_stop"}, "rejected", "order_type_not_supported"),
            (BUY | {"orderType": "limit"}, "rejected", "no_limit_price"),
            (b"", "rejected", "empty"),
            (b"\xff\xfe\x00garbage", "rejected", None),
            (b"[" * 100_000, "rejected", None),
            (b'{"ticker": "BTCUSD", "action": "buy", "quantity": NaN}', "rejected", None),
            (b'{"ticker": "BTCUSD", "action": "buy", "quantity": 1e999999}', "rejected", None),
            ('{"ticker": "\u202e\U0001f680", "action": "buy"}', "rejected", None),
            ('{"ticker": "BTC\\u0000USD", "action": "buy", "quantity": 1}', "rejected", None),
        ],
    )
    def test_every_alert_gets_one_with_a_code(
        self, desk: Desk, body: Any, outcome: str, code: str | None
    ) -> None:
        decision = desk.decide(body)

        assert decision.outcome == outcome, decision.text
        assert code is None or decision.code == code
        assert decision.text
        assert len(desk.orders()) == (1 if outcome == "accepted" else 0)

    def test_a_paused_endpoint_keeps_the_alert_and_trades_nothing(self, desk: Desk) -> None:
        with acting_for(desk.tenant):
            Endpoint.objects.update(is_paused=True)

        assert desk.decide(BUY).code == "endpoint_paused"
        assert desk.orders() == []

    def test_an_endpoint_without_a_deployment_says_so(self, desk: Desk) -> None:
        with acting_for(desk.tenant):
            desk.deployment.delete()

        assert desk.decide(BUY).code == "not_deployed"

    def test_each_deployment_decides_for_itself(self, desk: Desk) -> None:
        other = make_account(desk.tenant, name="Second")
        make_deployment(desk.tenant, desk.endpoint, other)
        alert = desk.post(BUY)

        pipeline.take()

        with acting_for(desk.tenant):
            assert Decision.objects.filter(alert=alert).count() == 2
            assert {order.account_id for order in Order.objects.all()} == {
                desk.account.pk,
                other.pk,
            }

    def test_a_bracket_waits_behind_its_entry(self, desk: Desk) -> None:
        desk.decide(BUY | {"stopLoss": {"stopPrice": 90}, "takeProfit": {"limitPrice": 120}})

        entry, stop, target = desk.orders()
        assert (entry.kind, stop.kind, target.kind) == ("market", "stop", "limit")
        assert stop.parent_id == target.parent_id == entry.pk
        assert stop.reduce_only
        assert target.reduce_only
        assert (stop.stop_price, target.limit_price) == (90, 120)

    def test_a_bracket_on_the_wrong_side_is_refused(self, desk: Desk) -> None:
        assert desk.decide(BUY | {"sl": 110}).code == "bracket_on_wrong_side"

    def test_what_cannot_be_scored_says_so(self, desk: Desk) -> None:
        signal = desk.decide(BUY).signal

        assert signal is not None
        assert signal.score is None


class TestFreshness:
    """Invariants 3 and 5: duplicates collapse, twins do not, nothing stale adds exposure.

    Mutant tried: the head by arrival instead of by the time it fired; a delayed alert then opened
    a position that its successor had closed.
    """

    def fired(self, seconds_ago: float, **fields: Any) -> dict[str, Any]:
        at = timezone.now() - timedelta(seconds=seconds_ago)
        return BUY | {"fired_at": at.isoformat()} | fields

    def test_an_old_alert_opens_nothing(self, desk: Desk) -> None:
        assert desk.decide(self.fired(61)).code == "stale"
        assert desk.orders() == []

    def test_an_old_alert_may_still_close(self, desk: Desk) -> None:
        decision = desk.decide(self.fired(61, action="close"))

        assert decision.code == "nothing_to_close"

    def test_the_senders_own_limit_counts_too(self, desk: Desk) -> None:
        assert desk.decide(self.fired(20, max_lag="10")).code == "stale"

    def test_one_overtaken_by_its_successor_is_refused(self, desk: Desk) -> None:
        desk.decide(self.fired(5))

        assert desk.decide(self.fired(8)).code == "out_of_order"
        assert len(desk.orders()) == 1

    def test_whole_seconds_do_not_precede_a_fraction_of_their_own(self, desk: Desk) -> None:
        now = timezone.now()
        desk.decide(BUY | {"fired_at": now.replace(microsecond=900_000).isoformat()})

        same_second = desk.decide(BUY | {"fired_at": now.replace(microsecond=0).isoformat()})

        assert same_second.outcome == "accepted"

    def test_another_strategy_is_not_overtaken(self, desk: Desk) -> None:
        desk.decide(self.fired(5, strategy="one"))

        assert desk.decide(self.fired(8, strategy="two")).outcome == "accepted"

    def test_a_clock_that_is_ahead_counts_as_now(self, desk: Desk) -> None:
        assert desk.decide(self.fired(-3600)).outcome == "accepted"

    def test_the_same_order_in_other_bytes_is_a_duplicate(self, desk: Desk) -> None:
        body = self.fired(1, order_id="Long", bar_time="2026-03-02T11:45:00Z")
        desk.decide(body)

        again = desk.decide(body | {"comment": "sent again"})

        assert (again.outcome, again.code) == ("duplicate", "duplicate_signal")
        assert len(desk.orders()) == 1

    def test_the_same_order_of_the_next_bar_is_a_twin(self, desk: Desk) -> None:
        desk.decide(self.fired(1, order_id="Long", bar_time="2026-03-02T11:45:00Z"))

        twin = desk.decide(self.fired(0, order_id="Long", bar_time="2026-03-02T12:00:00Z"))

        assert twin.outcome == "accepted"

    def test_duplicates_in_one_batch_see_each_other(self, desk: Desk) -> None:
        body = self.fired(1, order_id="Long", bar_time="2026-03-02T11:45:00Z")
        desk.post(body)
        desk.post(body | {"comment": "again"})

        pipeline.take()

        assert len(desk.orders()) == 1

    def replay(self, desk: Desk, alert: Alert) -> Decision:
        with acting_for(desk.tenant):
            again = Alert.objects.create(
                endpoint=desk.endpoint, body=bytes(alert.body), replay_of=alert
            )
        pipeline.take()
        with acting_for(desk.tenant):
            return Decision.objects.get(alert=again)

    def test_a_replay_is_decided_again_and_is_no_duplicate(self, desk: Desk) -> None:
        alert = desk.post(self.fired(1, order_id="Long", bar_time="2026-03-02T11:45:00Z"))
        pipeline.take()

        assert self.replay(desk, alert).outcome == "accepted"

    def test_a_replay_is_no_younger_than_its_original(self, desk: Desk) -> None:
        alert = desk.post(self.fired(600))
        pipeline.take()

        assert self.replay(desk, alert).code == "stale"

    def test_a_replay_of_one_that_names_no_time_is_as_old_as_its_arrival(self, desk: Desk) -> None:
        alert = desk.post(json.dumps(BUY | {"ticker": "NOSUCH"}))
        pipeline.take()
        with acting_for(desk.tenant):
            long_ago = timezone.now() - timedelta(seconds=600)
            body = json.dumps(BUY).encode()
            Alert.objects.filter(pk=alert.pk).update(received_at=long_ago, body=body)
            alert.refresh_from_db()

        assert self.replay(desk, alert).code == "stale"

    def test_shuffled_and_delayed_resends_never_add_exposure(self, desk: Desk) -> None:
        chance = random.Random(5)
        sent = [
            self.fired(30 - n, order_id="Long", bar_time=f"2026-03-02T11:{n:02d}:00Z", quantity=1)
            for n in range(10)
        ]
        newest_first = [*sent, *sent, *sent]
        chance.shuffle(newest_first)
        for body in newest_first:
            desk.decide(body | {"comment": str(chance.random())})

        with acting_for(desk.tenant):
            fired = list(
                Signal.objects.filter(decisions__outcome="accepted")
                .order_by("created_at")
                .values_list("fired_at", flat=True)
            )
        times = [at for at in fired if at is not None]
        assert times == sorted(set(times)), "an older signal was acted on after a newer one"


class Broken(Exception):
    pass


class TestExactlyOneDecision:
    """Invariant 4, inside one process; tests/chaos does it with kill -9.

    Mutant tried: the alerts marked as decided in a transaction of their own; a failure between
    the two then lost decisions.
    """

    def test_a_crash_between_any_two_writes_leaves_nothing_half_done(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chance = random.Random(7)
        whole = bulk._execute

        def crash(*arguments: Any) -> None:
            if chance.random() < 0.3:
                raise OperationalError("the line was cut")
            whole(*arguments)

        monkeypatch.setattr(bulk, "_execute", crash)
        for number in range(40):
            desk.post(BUY | {"quantity": 1, "comment": str(number)})
        for _ in range(200):
            try:
                if not pipeline.take(limit=7):
                    break
            except OperationalError:
                continue

        self.check(desk, alerts=40)

    def test_two_pipelines_share_the_work(self, desk: Desk) -> None:
        for number in range(60):
            desk.post(BUY | {"quantity": 1, "comment": str(number)})
        gate = threading.Barrier(3)

        def work(_: int) -> None:
            gate.wait()
            try:
                while pipeline.take(limit=5):
                    pass
            finally:
                connections.close_all()

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, range(3)))
        while pipeline.take():
            pass

        self.check(desk, alerts=60)
        with acting_for(desk.tenant):
            # None overtook another on the way.
            assert not Decision.objects.filter(code="out_of_order").exists()

    def check(self, desk: Desk, *, alerts: int) -> None:
        with acting_for(desk.tenant):
            assert Decision.objects.count() == alerts
            assert Decision.objects.values("alert").distinct().count() == alerts
            accepted = Decision.objects.filter(outcome__in=["accepted", "reduced"]).count()
            assert Order.objects.count() == accepted > 0
            assert not Alert.objects.filter(status="stored").exists()
            assert Event.objects.filter(kind__startswith="decision.").count() == alerts

    def test_a_poisonous_alert_is_set_aside_and_stops_no_other(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole: Callable[..., Any] = intents.intent_of

        def trip(signal: Signal, *rest: Any) -> Any:
            if signal.strategy == "poison":
                raise Broken
            return whole(signal, *rest)

        monkeypatch.setattr(pipeline, "intent_of", trip)
        good = [desk.post(BUY | {"quantity": n + 1}) for n in range(3)]
        poison = desk.post(BUY | {"strategy": "poison"})

        pipeline.take()

        with acting_for(desk.tenant):
            assert Decision.objects.get(alert=poison).code == "internal_error"
            decided = Decision.objects.filter(alert__in=good)
            assert {row.outcome for row in decided} == {"accepted"}
            assert not Alert.objects.filter(status="stored").exists()


class TestCorpus:
    def test_every_body_gets_a_decision_and_no_faulty_one_an_order(
        self, desk: Desk, data: Path
    ) -> None:
        lines = (data / "alerts" / "corpus.jsonl").read_text().splitlines()
        bodies = [json.loads(line) for line in lines]
        alerts = {}
        for body in bodies:
            raw = body["body"]
            raw = base64.b64decode(body["body_b64"]) if raw is None else raw.encode()
            alerts[body["id"]] = desk.post(raw).pk

        while pipeline.take():
            pass

        with acting_for(desk.tenant):
            decided = {row.alert_id: row for row in Decision.objects.all()}
            traded = set(
                Signal.objects.filter(pk__in=Order.objects.values("signal_id")).values_list(
                    "alert_id", flat=True
                )
            )
        assert set(decided) == set(alerts.values())
        for body in bodies:
            if body["expect"]["error"]:
                assert alerts[body["id"]] not in traded, body["id"]
                assert decided[alerts[body["id"]]].code == body["expect"]["error"]


class TestTenants:
    def test_another_tenants_deployment_of_ones_endpoint_gets_nothing(
        self, alice: Tenant, bob: Tenant, stage_for: Callable[[Tenant], Desk]
    ) -> None:
        hers, his = stage_for(alice), stage_for(bob)
        make_deployment(bob, hers.endpoint.pk, his.account)

        hers.post(BUY)
        pipeline.take()

        assert len(hers.orders()) == 1
        assert his.orders() == []

    def test_each_decision_is_its_tenants_own(
        self, alice: Tenant, bob: Tenant, stage_for: Callable[[Tenant], Desk]
    ) -> None:
        hers, his = stage_for(alice), stage_for(bob)
        hers.post(BUY)
        his.post(BUY | {"quantity": 3})

        pipeline.take()

        assert [order.quantity for order in hers.orders()] == [2]
        assert [order.quantity for order in his.orders()] == [3]
