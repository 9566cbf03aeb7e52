from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError

from apps.marketdata.models import Bar, Instrument, Quote, Replay
from tests.apps.marketdata.market import NOON, make_instrument


@pytest.mark.parametrize(
    ("constraint", "overrides"),
    [
        ("instrument_symbol_form", {"symbol": "btcusd"}),
        ("instrument_symbol_form", {"symbol": "BTC/USD"}),
        ("instrument_symbol_form", {"symbol": ""}),
        ("instrument_exchange_form", {"exchange": "Kraken"}),
        ("instrument_currency_form", {"currency": "usd"}),
        ("instrument_tick_positive", {"tick_size": Decimal(0)}),
        ("instrument_lot_positive", {"lot_size": Decimal(-1)}),
        ("instrument_point_value_positive", {"point_value": Decimal(0)}),
        ("instrument_fee_is_fraction", {"fee_rate": Decimal(1)}),
        ("instrument_fee_is_fraction", {"fee_rate": Decimal("-0.1")}),
    ],
)
def test_the_database_refuses_an_instrument(
    ops: None, constraint: str, overrides: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        make_instrument(**overrides)


def test_a_symbol_is_listed_once_at_an_exchange(bitcoin: Instrument, ops: None) -> None:
    with pytest.raises(IntegrityError, match="instrument_once"):
        make_instrument(bitcoin.symbol, bitcoin.exchange)


@pytest.mark.parametrize(
    ("constraint", "overrides"),
    [
        ("bar_range_holds_its_prices", {"high": 100}),
        ("bar_range_holds_its_prices", {"low": 101}),
        ("bar_prices_positive", {"low": 0}),
        ("bar_volume_not_negative", {"volume": -1}),
        ("bar_interval_positive", {"interval_s": 0}),
    ],
)
def test_the_database_refuses_a_bar(
    bitcoin: Instrument, ops: None, constraint: str, overrides: dict[str, Any]
) -> None:
    prices = {"open": 100, "high": 103, "low": 98, "close": 101, "volume": 1}
    values: dict[str, Any] = {"opened_at": NOON, "interval_s": 60, **prices}
    with pytest.raises(IntegrityError, match=constraint):
        Bar.objects.create(instrument=bitcoin, **(values | overrides))


@pytest.mark.parametrize(
    ("constraint", "overrides"),
    [
        ("quote_range_holds_its_prices", {"price": 104}),
        ("quote_range_holds_its_prices", {"open": 97}),
        ("quote_prices_positive", {"low": 0}),
        ("quote_after_open", {"at": NOON.replace(hour=11)}),
        ("quote_volume_not_negative", {"volume": -1}),
        ("quote_interval_positive", {"interval_s": 0}),
    ],
)
def test_the_database_refuses_a_quote(
    bitcoin: Instrument, ops: None, constraint: str, overrides: dict[str, Any]
) -> None:
    prices = {"open": 100, "high": 103, "low": 98, "price": 101, "volume": 1}
    times = {"opened_at": NOON, "at": NOON, "received_at": NOON, "interval_s": 60}
    with pytest.raises(IntegrityError, match=constraint):
        Quote.objects.create(instrument=bitcoin, **{**prices, **times, **overrides})


@pytest.mark.parametrize(
    ("constraint", "overrides"),
    [
        ("replay_goes_forward", {"position": NOON.replace(hour=11)}),
        ("replay_four_steps_a_bar", {"step": 4}),
        ("replay_speed_not_negative", {"speed": -1}),
        ("replay_interval_positive", {"interval_s": 0}),
        ("replay_of_another_instrument", {"source": "store"}),
        ("replay_of_another_instrument", {"source": "store", "origin": "itself"}),
        ("replay_of_another_instrument", {"source": "synthetic", "origin": "itself"}),
    ],
)
def test_the_database_refuses_a_replay(
    bitcoin: Instrument, ops: None, constraint: str, overrides: dict[str, Any]
) -> None:
    values: dict[str, Any] = {"source": "synthetic", "starts_at": NOON, "position": NOON}
    if overrides.get("origin") == "itself":
        overrides = overrides | {"origin": bitcoin}
    with pytest.raises(IntegrityError, match=constraint):
        Replay.objects.create(instrument=bitcoin, **(values | overrides))
