"""Alerts that are not JSON: sentences, lines, commands, scripts, and what they must not do."""

from typing import Any

import pytest

from tests.apps.webhooks.expectations import assert_reads

BUY: dict[str, Any] = {"ticker": "AAPL", "action": "buy", "error": None}
PINE = "60123456789"

SENTENCES: list[tuple[str, dict[str, Any]]] = [
    # TradingView's own
    (
        "order buy @ 1 filled on AAPL. New strategy position is 1",
        BUY | {"quantity": 1, "position_size": 1, "strategy": None, "price": None},
    ),
    (
        "X: order sell @ 2 filled on CME_MINI:NQ1!. New strategy position is -2",
        {"ticker": "NQ1!", "exchange": "CME_MINI", "action": "sell", "quantity": 2,
         "strategy": "X", "position_size": -2, "error": None},
    ),
    ("X: order sell @ 0.5 filled on AAPL. New strategy position is 0.5",
     {"action": "sell", "position_size": 0.5, "error": None}),
    ("S (key abc): order buy @ 1 filled on AAPL", {"strategy": "S", "secret_seen": True}),
    ("S: order {{strategy.order.action}} @ 1 filled on AAPL",
     {"action": None, "error": "unresolved_placeholder"}),
    ("RSI Crossing 70 on AAPL, 60",
     {"ticker": "AAPL", "timeframe": "60", "price": None, "error": "no_action"}),
    ("BINANCE:BTCUSDT.P Greater Than 50000.5",
     {"ticker": "BTCUSDT.P", "price": 50000.5, "error": "no_action"}),
    ("AAPL, 60: buy", BUY | {"timeframe": "60", "quantity": None}),
    # action, ticker and size
    ("long AAPL", BUY),
    ("AAPL LONG", BUY),
    ("buy aapl 10", BUY | {"quantity": 10}),
    ("SELL 100 TSLA @ 250.25", {"action": "sell", "quantity": 100, "price": 250.25}),
    ("BUY 10 shares of AAPL", BUY | {"quantity": 10}),
    ("BUY AAPL 10 @ 229.35", BUY | {"quantity": 10, "price": 229.35}),
    ("[BUY] AAPL 10", BUY | {"quantity": 10}),
    ("BUY AAPL 10%", BUY | {"quantity": None, "quantity_pct": 10}),
    ("BUY T 10", {"ticker": "T", "quantity": 10, "error": None}),
    ("BUY 0.5 BTC", {"ticker": "BTC", "quantity": 0.5, "error": None}),
    ("BUY BTCUSDT 0.5 BTC", {"ticker": "BTCUSDT", "quantity": 0.5, "error": None}),
    ("BUY 100 USDT of BTCUSDT", {"ticker": "BTCUSDT", "quantity": None, "quantity_quote": 100}),
    ("sell btcusdt 0.1", {"ticker": "BTCUSDT", "action": "sell", "quantity": 0.1}),
    ("NYSE:BRK.B SELL", {"ticker": "BRK.B", "exchange": "NYSE", "action": "sell"}),
    ("BUY BTC/USDT 0.1", {"ticker": "BTC/USDT", "quantity": 0.1}),
    ("Short EURUSD now!", {"ticker": "EURUSD", "action": "sell", "error": None}),
    ("Strong Buy AAPL", BUY),
    ("sell short AAPL", {"action": "sell", "error": None}),
    ("Exit long AAPL", {"action": "close_long", "error": None}),
    ("buy to cover AAPL", {"action": "close_short", "error": None}),
    ("CLOSE AAPL", {"action": "close", "error": None}),
    ("close all positions", {"action": "close", "error": "no_ticker"}),
    ("Buy alert: AAPL at 229.35", BUY | {"price": 229.35}),
    ("AAPL: BUY", BUY),
    ("Alert: BUY AAPL 10", BUY | {"quantity": 10}),
    ("BUY\nAAPL", BUY),
    ("BUY AAPL\nBuy AAPL at 100", BUY | {"price": 100}),
    ("Buy limit EURUSD at 1.0850 sl 1.0800 tp 1.0950",
     {"order_type": "limit", "limit_price": 1.085, "stop_loss": 1.08, "take_profit": 1.095}),
    ("Buy Signal on BINANCE:BTCUSDT at 64,000.50 (15m)",
     {"ticker": "BTCUSDT", "price": 64000.5, "timeframe": "15m", "error": None}),
    # chat
    ("**BUY** `AAPL` @ **3,500.50** 🚀", BUY | {"price": 3500.5}),
    ("🔴 SELL $TSLA 10 shares", {"ticker": "TSLA", "action": "sell", "quantity": 10}),
    ("🟢 LONG #BTCUSDT Entry: 64000 SL: 62000 TP1: 66000 TP2: 68000",
     {"ticker": "BTCUSDT", "price": 64000, "stop_loss": 62000, "take_profit": 66000}),
    ("𝗕𝗨𝗬 𝗔𝗔𝗣𝗟", BUY),
    ("ＢＵＹ ＡＡＰＬ １０", BUY | {"quantity": 10}),
    ("BUY\u200f AAPL\u202e 10", BUY | {"quantity": 10}),
    ("BUY AAPL ١٠", BUY | {"quantity": 10}),
    ("MSFT - BUY - 5", {"ticker": "MSFT", "action": "buy", "quantity": 5, "error": None}),
    # what must not become an order
    *[(body, {"action": None, "error": "ambiguous_action"}) for body in (
        "don't buy AAPL", "Don’t sell AAPL", "Buy AAPL if it breaks 230", "Buy AAPL?",
        "LONG and SHORT AAPL", "Buy the rumour, sell the news", "LONG AAPL stopped out",
        "Close long / open short AAPL", "maybe sell AAPL", "Sell half AAPL", "Never short AAPL",
        "Wait for the buy in AAPL", "TP hit, long AAPL")],
    *[(body, {"action": None, "error": "no_action"}) for body in (
        "Sell-off continues in AAPL", "BUYER activity in AAPL", "TP hit AAPL", "hello world",
        "I bought AAPL at 229", "AAPL close above 230", "Bullish divergence on AAPL",
        "Position closed AAPL", "long-term AAPL", "Long MA crossed on AAPL", "買い AAPL",
        "../../etc/passwd", "'; DROP TABLE alerts;--", "<script>alert(1)</script>",
        "RSI: 42.5\nNote: sell later", "Вuy AAPL")],
    ("BUY АAPL 10", {"ticker": None, "action": "buy", "error": "bad_ticker"}),
    ("BUY AAPL or MSFT", {"ticker": None, "error": "no_ticker"}),
    ("Go short", {"action": "sell", "error": "no_ticker"}),
    ("{{strategy.order.alert_message}}", {"action": None, "error": "unresolved_placeholder"}),
    ("BUY {{ticker}} 10", {"ticker": None, "action": "buy", "error": "unresolved_placeholder"}),
    # numbers that may be either
    *[(body, {"ticker": "AAPL", "action": "buy", "quantity": None, "error": "ambiguous_number"})
      for body in ("BUY AAPL 229.35", "BUY AAPL 64000", "BUY AAPL 10 20", "BUY AAPL 1,000",
                   "buy AAPL $500", "AAPL 60 buy", "BUY 5 AAPL 10", "BUY AAPL\n10")],
    ("Buy 1k AAPL", {"quantity": None, "error": "bad_quantity"}),
    ("BUY AAPL -5", {"quantity": None, "error": "contradictory_quantity"}),
    ("BUY AAPL @ 64,000", {"price": None, "error": "ambiguous_number"}),
    ("AAPL LONG x10 entry 35 tp 36 sl 34", BUY | {"quantity": None, "price": 35}),
]  # fmt: skip

LINES: list[tuple[str, dict[str, Any]]] = [
    ("action = buy\nticker = AAPL", BUY),
    ("ticker: AAPL\naction: buy\nVolume: 1200000", BUY | {"quantity": None}),
    ("TICKER=AAPL\nACTION=buy\nVOLUME=1200000", BUY | {"quantity": None}),
    ("symbol: AAPL, action: buy, price: 10", BUY | {"price": 10}),
    ("Symbol=AAPL Action=BUY Qty=10", BUY | {"quantity": 10}),
    ("Action: Sell\nTicker: TSLA\nPrice: 250,5", {"action": "sell", "price": 250.5}),
    ("symbol=AAPL&action=buy&price=229.35", BUY | {"price": 229.35}),
    ("symbol=BTC%2FUSDT&side=sell", {"ticker": "BTC/USDT", "error": "encoding_repaired"}),
    ("ticker: AAPL\nticker: MSFT\naction: buy", {"ticker": None, "error": "duplicate_key"}),
    ("ticker: AAPL\naction: buy\nside: sell", {"action": None, "error": "contradictory_action"}),
    ("ticker: AAPL\naction: don't buy", {"action": None, "error": "ambiguous_action"}),
    ("PasswordTest\nshort AAPL q=2", {"ticker": "AAPL", "action": "sell", "quantity": 2}),
    ("<alert><ticker>AAPL</ticker><action>buy</action></alert>", BUY),
    # OctoBot
    *[(f"EXCHANGE=binance;SYMBOL=ETHBTC;SIGNAL=BUY;VOLUME={volume}",
       {"ticker": "ETHBTC", "exchange": "binance", "action": "buy", "error": None} | size)
      for volume, size in (
          ("0.1", {"quantity": 0.1}), ("2%", {"quantity_pct": 2}), ("12a%", {"quantity_pct": 12}),
          ("40p%", {"quantity_pct": 40}), ("10q", {"quantity_quote": 10}))],
    (
        ("SYMBOL=ETHBTC;SIGNAL=SELL;ORDER_TYPE=LIMIT;PRICE=0.05;REDUCE_ONLY=true;STOP_PRICE=0.06;"
        "TAKE_PROFIT_PRICE_1=0.04;TOKEN=x"),
        {"limit_price": 0.05, "stop_loss": 0.06, "take_profit": 0.04, "reduce_only": True,
         "secret_seen": True, "error": None},
    ),
    ("SYMBOL=ETHBTC;SIGNAL=BUY;PRICE=10d", {"price": None, "error": "ambiguous_number"}),
    ("SYMBOL=ETHBTC\nSIGNAL=CANCEL", {"action": "cancel"}),
    # Autoview
    ("e=binance s=btcusdt b=sell q=50% t=market",
     {"ticker": "BTCUSDT", "action": "sell", "quantity_pct": 50, "order_type": "market"}),
    ("e=binance s=btcusdt c=position b=long", {"action": "close_long", "error": None}),
    ("e=binance s=btcusdt c=position", {"action": "close"}),
    ("e=binance s=btcusdt c=order", {"action": "cancel"}),
    ("ENTER-LONG_Bybit_BTCUSDT_bot_15M", {"action": "buy", "error": "no_ticker"}),
    # several orders
    ("SELL TSLA; BUY MSFT", {"action": None, "error": "multiple_signals"}),
    ("BUY AAPL\nSELL MSFT", {"action": None, "error": "multiple_signals",
     "signals": [{"ticker": "AAPL", "action": "buy"}, {"ticker": "MSFT", "action": "sell"}]}),
]  # fmt: skip

COMMANDS: list[tuple[str, dict[str, Any]]] = [
    *[(f"{PINE},{word},EURUSD", {"ticker": "EURUSD", "action": action, "secret_seen": True,
                                 "error": None})
      for word, action in (
          ("buy", "buy"), ("SELL", "sell"), ("bull", "buy"), ("short", "sell"),
          ("closelong", "close_long"), ("closeshort", "close_short"), ("closeall", "close"),
          ("cancellong", "cancel"))],
    (f"{PINE},buy,EURUSD,risk=1,sl=1.08,tp=1.1",
     {"risk": 1, "stop_loss": 1.08, "take_profit": 1.1, "error": None}),
    (f"{PINE},buystop,EURUSD,price=1.1,vol_lots=0.1",
     {"action": "buy", "order_type": "stop", "stop_price": 1.1, "quantity": 0.1}),
    (f"{PINE},selllimit,XAUUSD,price=2400,sl_pips=50,tp_pips=9",
     {"action": "sell", "limit_price": 2400, "stop_loss": None, "set_aside": ("distances",)}),
    (f"{PINE},closelongsell,EURUSD,risk=1",
     {"action": None, "error": "multiple_signals",
      "signals": [{"ticker": "EURUSD", "action": "close_long"},
                  {"ticker": "EURUSD", "action": "sell", "risk": 1}]}),
    (f"{PINE},newsltplong,EURUSD,sl=1", {"action": None, "error": "no_action"}),
    ("NASDAQ:AAPL, 1D, Buy", {"ticker": "AAPL", "timeframe": "1D", "error": "nonstandard_order"}),
    ("buy;AAPL;10", BUY | {"quantity": 10}),
    ("buy|AAPL|10", BUY | {"quantity": 10}),
    ("ticker:AAPL,action:buy", BUY),
    (f"{PINE},EURUSD,buy", {"ticker": "EURUSD", "error": "nonstandard_order"}),
    (f"{PINE},buy,BTCUSD,0.1", {"quantity": 0.1, "error": None}),
    (f"{PINE},buy,BTCUSD,49500,51000", {"quantity": None, "error": "ambiguous_number"}),
    ("trend7,buy,EURUSD", {"strategy": "trend7", "ticker": "EURUSD", "secret_seen": False}),
    ("TREND,buy,EURUSD", {"ticker": None, "error": "bad_ticker"}),
    ("AAPL,buy,10", BUY | {"quantity": 10}),
    ("AAPL,buy,10,229.35", BUY | {"quantity": 10, "price": 229.35}),
    ("BUY,AAPL,229.35", BUY | {"quantity": None, "error": "ambiguous_number"}),
    ("BUY,AAPL,2%", BUY | {"quantity_pct": 2}),
    ("ticker,action,price\nAAPL,buy,229.35", BUY | {"price": 229.35}),
    ("ticker,action\nAAPL,buy\nMSFT,sell", {"error": "multiple_signals"}),
    ("ticker,action\nAAPL", {"ticker": None, "action": None, "error": "unparseable"}),
    ("BUY,EURUSD,LOTS=0.1;BUY,GBPUSD,LOTS=0.2", {"error": "multiple_signals"}),
    # Alertatron
    ("K(XBTUSD) { exchangeSettings(leverage=5); cancel(which=all); market(side=sell, amount=9); }",
     {"ticker": "XBTUSD", "action": "sell", "quantity": 9, "error": None}),
    ("K(XBTUSD) { limit(side=buy, amount=50%, price=100); }",
     {"action": "buy", "quantity_pct": 50, "limit_price": 100, "order_type": "limit"}),
    ("K(XBTUSD) { cancel(which=all); }", {"action": "cancel", "error": None}),
    ("K(XBTUSD) { market(position=0); }", {"action": "close", "error": None}),
    ("K(XBTUSD) { market(position=100); }", {"action": None, "error": "no_action"}),
    ("K(XBTUSD) { market(side=buy, amount=1); market(side=sell, amount=2); }",
     {"action": None, "error": "multiple_signals"}),
    ("K(A1) { market(side=buy); }\nK(B1) { market(side=buy); }", {"error": "multiple_signals"}),
    ("K(XBTUSD) { market(side={{strategy.order.action}}, amount=1); }",
     {"ticker": "XBTUSD", "action": None, "error": "unresolved_placeholder"}),
    ("K(../../x) { market(side=buy); }", {"ticker": None, "error": "bad_ticker"}),
]  # fmt: skip


class TestSentences:
    @pytest.mark.parametrize(("body", "expected"), SENTENCES)
    def test_a_sentence_says_what_it_says(self, body: str, expected: dict[str, Any]) -> None:
        assert_reads(body.encode(), expected)


class TestLines:
    @pytest.mark.parametrize(("body", "expected"), LINES)
    def test_named_values_are_read(self, body: str, expected: dict[str, Any]) -> None:
        assert_reads(body.encode(), expected)


class TestCommands:
    @pytest.mark.parametrize(("body", "expected"), COMMANDS)
    def test_a_command_is_read_by_its_senders_rules(
        self, body: str, expected: dict[str, Any]
    ) -> None:
        assert_reads(body.encode(), expected)


class TestLongTexts:
    def test_an_order_that_goes_on_out_of_sight_is_not_traded(self) -> None:
        body = "BUY AAPL 10\n" + "filler\n" * 4_000 + "or rather: do not"

        assert_reads(body.encode(), {"action": None, "error": "ambiguous_action"})
