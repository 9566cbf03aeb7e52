"""What an alert says, in PineLab's own words, and every way in which it can fail to say it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class MessageCode(StrEnum):
    """Why an alert is not taken as it stands; listed from the gravest to the mildest.

    An alert with several faults carries the gravest.
    """

    TOO_LARGE = "too_large"
    EMPTY = "empty"
    UNPARSEABLE = "unparseable"
    UNRESOLVED_PLACEHOLDER = "unresolved_placeholder"
    MULTIPLE_SIGNALS = "multiple_signals"
    AMBIGUOUS_ACTION = "ambiguous_action"
    CONTRADICTORY_ACTION = "contradictory_action"
    DUPLICATE_KEY = "duplicate_key"
    BAD_TICKER = "bad_ticker"
    NO_ACTION = "no_action"
    NO_TICKER = "no_ticker"
    BAD_QUANTITY = "bad_quantity"
    CONTRADICTORY_QUANTITY = "contradictory_quantity"
    AMBIGUOUS_NUMBER = "ambiguous_number"
    NONSTANDARD_ORDER = "nonstandard_order"
    ENCODING_REPAIRED = "encoding_repaired"
    JSON_REPAIRED = "json_repaired"


GRAVITY: dict[MessageCode, int] = {code: place for place, code in enumerate(MessageCode)}

# Code -> (what is wrong, what to do about it), in words for the person who wrote the alert.
EXPLANATIONS: dict[MessageCode, tuple[str, str]] = {
    MessageCode.TOO_LARGE: (
        "The message is larger than 128 KiB.",
        "Send only the fields that the order needs; long logs belong elsewhere.",
    ),
    MessageCode.EMPTY: (
        "The message holds nothing.",
        (
            "Fill in the alert's message. If it is {{strategy.order.alert_message}}, give every"
            " order call of the script an alert_message."
        ),
    ),
    MessageCode.UNPARSEABLE: (
        "The message is broken in a way that cannot be mended without guessing.",
        (
            "Check it with a JSON validator: quotes, commas and braces must pair up, and it may be"
            " at most 8 levels deep."
        ),
    ),
    MessageCode.UNRESOLVED_PLACEHOLDER: (
        "A {{placeholder}} arrived as it was typed: TradingView did not replace it.",
        (
            "Check its spelling, and that the alert is of a kind that fills it in: {{strategy.*}}"
            " works only in strategy alerts, and none work inside alert() or alert_message."
        ),
    ),
    MessageCode.MULTIPLE_SIGNALS: (
        "The message holds more than one order.",
        "Send one alert for each order.",
    ),
    MessageCode.AMBIGUOUS_ACTION: (
        "The text names more than one action, a condition or a negation.",
        'State one action by itself, such as "action": "buy".',
    ),
    MessageCode.CONTRADICTORY_ACTION: (
        "Two fields of the message contradict each other about what to do.",
        "Keep one field for the action, and let the position agree with it.",
    ),
    MessageCode.DUPLICATE_KEY: (
        "The message gives one key twice.",
        "Remove one of the two; which of them is meant cannot be known.",
    ),
    MessageCode.BAD_TICKER: (
        "The ticker is not a symbol, or two tickers disagree.",
        "Use {{ticker}}, or a symbol in Latin letters such as AAPL, BTCUSDT.P or NASDAQ:AAPL.",
    ),
    MessageCode.NO_ACTION: (
        "The message does not say what to do.",
        "Add an action: buy, sell, close, close_long, close_short, cancel or add.",
    ),
    MessageCode.NO_TICKER: (
        "The message does not say which instrument it is about.",
        'Add "ticker": "{{ticker}}".',
    ),
    MessageCode.BAD_QUANTITY: (
        "The quantity is not a positive number in a known unit.",
        "Give a number above zero, such as 10, 0.5 or 25%, or leave the quantity out.",
    ),
    MessageCode.CONTRADICTORY_QUANTITY: (
        "The quantity contradicts the action, or two quantities disagree.",
        "Give one quantity, without a sign; the action says the direction.",
    ),
    MessageCode.AMBIGUOUS_NUMBER: (
        "A number cannot be read in exactly one way, such as 1,234 or 10d.",
        "Write numbers with a point and without thousands separators: 1234.5.",
    ),
    MessageCode.NONSTANDARD_ORDER: (
        "The fields of the command are in an unusual order.",
        "Write licence, command, symbol, then the parameters.",
    ),
    MessageCode.ENCODING_REPAIRED: (
        "The message was not plain UTF-8 text and had to be decoded first.",
        "Send UTF-8 without a byte order mark and without URL or HTML escapes.",
    ),
    MessageCode.JSON_REPAIRED: (
        "The message is not valid JSON; it was mended before it was read.",
        "Check it with a JSON validator. Quote the placeholders that may be NaN or empty.",
    ),
}


@dataclass(frozen=True, slots=True)
class ParsedAlert:
    """The one reading of a body, whoever made it; a field that was not given is None.

    Only a reading whose ``error`` is None is fit to be traded without asking. ``json_repaired``,
    ``encoding_repaired`` and ``nonstandard_order`` keep the whole reading; the others leave out
    at least the field that they are about. Prices are in the quote currency and as given: whether
    a stop is on the right side of the market is for the risk check to say.

    Attributes:
        ticker: symbol without the exchange prefix.
        exchange: as given, delayed-data endings such as ``_DL`` included.
        action: buy, sell, close, close_long, close_short, cancel or add.
        quantity: base units, always positive.
        quantity_pct: percent as given, 50 for half; of what is the sender's meaning.
        quantity_quote: amount in the quote currency.
        risk: the sender's risk figure as given, usually percent of equity.
        timeframe: as given: ``15``, ``1D``, ``4h``.
        market_position: long, short or flat, after the order.
        position_size: signed, after the order.
        stop_loss: absolute price, as take_profit is.
        stop_loss_pct: percent as given, as take_profit_pct is.
        order_type: market, limit, stop, stop_limit or trailing_stop.
        bar_time: open of the bar that fired the alert, UTC.
        fired_at: when the sender says it sent the alert, UTC.
        max_lag_s: age in seconds beyond which the sender wants it dropped.
        alert_id: the sender's own idempotency id.
        reduce_only: the sender asks that the order never open or turn a position.
        secret_seen: the body carried a credential; its value is kept nowhere.
        set_aside: fields that were given in a unit or shape that could not be used.
        signals: the orders of a body that held several.
    """

    ticker: str | None = None
    exchange: str | None = None
    action: str | None = None
    price: Decimal | None = None
    quantity: Decimal | None = None
    quantity_pct: Decimal | None = None
    quantity_quote: Decimal | None = None
    risk: Decimal | None = None
    timeframe: str | None = None
    strategy: str | None = None
    market_position: str | None = None
    prev_market_position: str | None = None
    position_size: Decimal | None = None
    prev_position_size: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss_pct: Decimal | None = None
    take_profit_pct: Decimal | None = None
    order_type: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    order_id: str | None = None
    comment: str | None = None
    bar_time: datetime | None = None
    fired_at: datetime | None = None
    max_lag_s: int | None = None
    alert_id: str | None = None
    reduce_only: bool = False
    secret_seen: bool = False
    set_aside: tuple[str, ...] = ()
    signals: "tuple[ParsedAlert, ...]" = ()
    error: MessageCode | None = None
