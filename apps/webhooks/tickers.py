"""What may be a ticker: symbols in Latin letters, with or without their exchange."""

import re

from apps.webhooks.bodies import clean
from apps.webhooks.numbers import NumberText
from apps.webhooks.words import ABSENT

MAX_LENGTH = 40
# AAPL, BRK.B, M&M, NQ1!, BTC/USDT, ETH-PERP, BTCUSD_PERP, .BXBT, ^GSPC, EURUSD=X, 600519
_SYMBOL = re.compile(r"[.^]?[A-Za-z0-9]+(?:[._\-/&+][A-Za-z0-9]+)*(?:!|=[XFx])?", re.ASCII)
_EXCHANGE = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,24}", re.ASCII)
_MARKS = re.compile(r"[^A-Z0-9]")


def read(raw: object) -> tuple[str, str | None] | None:
    """Return symbol and exchange prefix; an empty symbol when absent, None when it is no ticker."""
    if not isinstance(raw, str):
        return None
    if isinstance(raw, NumberText):
        # Shanghai and Tokyo number their shares.
        return (str(raw), None) if raw.isascii() and raw.isdigit() and len(raw) <= 8 else None
    text = clean(raw[: MAX_LENGTH * 4]).strip().removeprefix("$").removeprefix("#").strip()
    if text.lower() in ABSENT:
        return "", None
    prefix, colon, symbol = text.rpartition(":")
    if len(symbol) > MAX_LENGTH or not _SYMBOL.fullmatch(symbol):
        return None
    if colon and not _EXCHANGE.fullmatch(prefix):
        return None
    if symbol == symbol.lower():
        symbol = symbol.upper()
    return symbol, prefix or None


def agree(ticker: str, others: list[str]) -> bool:
    """Say whether all names mean one instrument: BINANCE:BTCUSDT.P and BTCUSDT do."""
    if len(others) < 2 or ticker.endswith("!"):
        return True
    bare = _bare(ticker)
    return all(_bare(other) == bare for other in others if other and other.lower() not in ABSENT)


def _bare(ticker: str) -> str:
    symbol = clean(ticker).upper().rpartition(":")[2]
    return _MARKS.sub("", symbol.removesuffix(".P"))
