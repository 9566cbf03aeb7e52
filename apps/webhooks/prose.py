"""Sentences: the action, the ticker and the labelled numbers of a line written for people."""

import re

from apps.webhooks import actions, tickers, words
from apps.webhooks.numbers import ascii_digits
from apps.webhooks.readings import MessageCode

MAX_LENGTH = 2_000

Pair = tuple[str, str]

_NUMBER = r"[-−]?[$€£₹¥]?\d[\d.,']{0,30}(?:[eE][-+]?\d{1,3})?(?:\s?%)?(?![\w])"
_LABELS: dict[str, str] = {
    "stop_loss": r"stop[\s-]?loss|sl|stop",
    "take_profit": r"take[\s-]?profit(?:\s?1)?|tp1?|target(?:\s?1)?|tgt",
    "": r"(?:take[\s-]?profit|tp|target)\s?[2-9]|leverage|lev|rsi|adx|atr|macd|vol(?:ume)?",
    "price": r"@|at|price|entry(?:\sprice)?|limit(?:\sprice)?|near",
    "quantity": r"qty|quantity|size|amount|contracts|lots|shares|q",
    "risk": r"risk",
    "timeframe": r"timeframe|tf|interval",
}
_LABELLED = re.compile(
    r"(?<![\w])(?:"
    + "|".join(f"(?P<n{place}>{labels})" for place, labels in enumerate(_LABELS.values()))
    + rf")\s{{0,3}}(?:is|of|at|to)?\s{{0,3}}[:=@]?\s{{0,3}}(?P<number>{_NUMBER})",
    re.IGNORECASE | re.ASCII,
)
_LABEL_NAMES = list(_LABELS)
_TIMEFRAME = re.compile(r"(?<![\w.])(\d{1,3}\s?(?:m|min|h|H|d|D|w|W|M))(?![\w])", re.ASCII)
_HEAD_TIMEFRAME = re.compile(r"[A-Z0-9:._!]{1,40},\s(\d{1,4}[A-Za-z]?)(?=[:,\s]|$)", re.ASCII)
# A word of capitals that mixes Latin letters with others that look like them.
_LOOK_ALIKE = re.compile(r"(?<!\w)(?=\w*[A-Z])(?=\w*[Ͱ-ԯ])[A-ZͰ-ԯ0-9.!]{2,20}(?!\w)")
_CANDIDATE = re.compile(
    r"(?<![\w.:/&\-])(?P<tag>[$#])?(?P<prefix>[A-Za-z][A-Za-z0-9_]{1,24}:)?"
    r"(?P<symbol>[.^]?[A-Z0-9]{1,30}(?:[._\-/&][A-Za-z0-9]{1,20}){0,4}!?)(?!\w|:\w)"
)
_LOWER = re.compile(
    r"(?<![\w.])(?:[a-z]+:)?[a-z0-9]{2,12}(?:usdt|usdc|usd|perp|busd)(?:\.p)?(?![\w.])"
)
_NOT_TICKERS_TEXT = (
    "BUY SELL LONG SHORT EXIT CLOSE OPEN ENTER ENTRY CANCEL ADD FLAT FLATTEN COVER ALERT "
    "SIGNAL SIGNALS ORDER ORDERS TRADE STRATEGY POSITION POSITIONS ALL NOW NEW STRONG WEAK "
    "PRICE STOP LOSS TAKE PROFIT TARGET SL TP TP1 TP2 TP3 TP4 TP5 TSL BE RR AT ON OF IN TO "
    "FOR BY THE AND OR IF NOT NO DO IS IT A I GO UP DOWN RSI EMA SMA WMA HMA MA VWAP MACD ATR "
    "ADX BB OBV MFI CCI ORB BOS CHOCH FVG HTF LTF TF QTY SIZE LOT LOTS SHARES CONTRACTS UNITS "
    "LIMIT MARKET MKT LMT RISK LEVERAGE LEV VOL VOLUME HIGH LOW TIME DATE UTC EST PM AM ALGO "
    "BOT AI USD USDT USDC EUR BREAKOUT CROSS CROSSOVER CROSSING PULLBACK REVERSAL TREND BULL "
    "BEAR BULLISH BEARISH GOLDEN DEATH SUPPORT RESISTANCE CONFIRMED CONFIRM TEST HTTP HTTPS "
    "NA NAN NULL WITH FROM TIMEFRAME BUYER SELLER BUYERS SELLERS INTERVAL TICKER SYMBOL PAIR "
    "ACTION EXCHANGE MIN PCT SPOT FUTURES PERP HERE READY ABOVE BELOW"
)
_NOT_TICKERS = frozenset(_NOT_TICKERS_TEXT.split())
_NOT_SYMBOL = re.compile(r"\d[\d.,\-/]*|\d{1,3}(?:M|H|D|W|MIN|X|K|S)|X\d+|[MHDW]\d{1,3}|Q[1-4]")
_RESTING = re.compile(r"(?<!\w)(buy|sell)[\s-]{1,2}(limit|stop)(?!\w)", re.IGNORECASE)


def may_be_ticker(word: str) -> bool:
    """Say whether a word of a sentence may name an instrument."""
    symbol = word.rpartition(":")[2]
    if symbol.upper() in _NOT_TICKERS or _NOT_SYMBOL.fullmatch(symbol):
        return False
    return any(sign.isalpha() for sign in symbol) and bool(tickers.read(word))


def looks_like_price(number: str) -> bool:
    """Say whether a number without a label is rather a price than a size: 229.35, 64000."""
    whole, _, decimals = number.lstrip("$").rstrip("%").partition(".")
    if number.endswith("%"):
        return False
    return (
        number.startswith("$") or len(whole) > 4 or (whole.strip("0") != "" and len(decimals) > 1)
    )


def read(text: str) -> tuple[list[Pair], set[MessageCode]]:
    """Return the values that a sentence names, and what is wrong with it."""
    text = ascii_digits(text[:MAX_LENGTH])
    faults: set[MessageCode] = set()
    pairs: list[Pair] = []
    action, fault = actions.in_sentence(text)
    if fault:
        faults.add(fault)
    elif action:
        pairs.append(("action", action))
    symbol = _ticker(text)
    if symbol:
        pairs.append(("symbol", symbol))
    elif _LOOK_ALIKE.search(text):
        faults.add(MessageCode.BAD_TICKER)
    if fault or not (action or symbol):
        # A condition's numbers are not an order's prices.
        return pairs, faults
    pairs += _labelled(text)
    pairs += _details(text, {key for key, _ in pairs})
    if action and symbol and not any(key == "quantity" for key, _ in pairs):
        _take_size(text, symbol, pairs, faults)
    return pairs, faults


def _details(text: str, known: set[str]) -> list[Pair]:
    """Return the order type and the timeframe of a sentence."""
    details: list[Pair] = []
    if resting := _RESTING.search(text):
        details.append(("order_type", resting[2]))
    timeframe = _HEAD_TIMEFRAME.match(text) or _TIMEFRAME.search(text)
    if timeframe and "timeframe" not in known:
        details.append(("timeframe", timeframe[1].replace(" ", "")))
    return details


def _labelled(text: str) -> list[Pair]:
    values: dict[str, str] = {}
    for match in _LABELLED.finditer(text):
        name = _name_of(match)
        if name and name not in values:
            values[name] = match["number"].rstrip(".,").replace(" ", "")
    return list(values.items())


def _name_of(match: re.Match[str]) -> str:
    return next(name for place, name in enumerate(_LABEL_NAMES) if match[f"n{place}"])


def _ticker(text: str) -> str | None:
    """Return the only instrument that is named; a marked one ($AAPL, NYSE:A) goes first."""
    plain: dict[str, None] = {}
    marked: dict[str, None] = {}
    for match in _CANDIDATE.finditer(text):
        symbol = match["symbol"]
        prefix = match["prefix"] if (match["prefix"] or "").isupper() else ""
        is_tagged = bool(match["tag"]) and symbol.isalpha()
        if not (is_tagged or match["prefix"] or may_be_ticker(symbol)):
            continue
        if match["tag"] or prefix:
            marked[prefix + symbol] = None
        elif not _is_unit(text, match.start()):
            plain[symbol] = None
    if len(marked) == 1:
        return next(iter(marked))
    if not marked and len(plain) == 1:
        return next(iter(plain))
    return _beside_the_action(text) or (None if plain or marked else _lower(text))


def _is_unit(text: str, start: int) -> bool:
    """``0.5 BTC`` beside another ticker is an amount."""
    before = text[max(0, start - 12) : start]
    if not re.search(r"\d\s?$", before):
        return False
    others = _CANDIDATE.finditer(text)
    return any(other.start() != start and may_be_ticker(other["symbol"]) for other in others)


_BESIDE = re.compile(
    r"[^\w$#]{0,8}(?:(?i:buy|sell|long|short|exit|close|cover)\s{1,3}(?P<after>\S{1,60})"
    r"|(?P<before>\S{1,60})\s{1,3}(?i:buy|sell|long|short|exit|close))"
    r"(?:\s{1,3}[@\d$x]|\s{1,3}(?i:at|entry|sl|tp|stop|qty)(?!\w)|\s{0,3}$|\s{0,3}[,.;(])"
)


def _beside_the_action(text: str) -> str | None:
    match = _BESIDE.match(text)
    word = (match["after"] or match["before"]).rstrip(".,;(") if match else ""
    if not word or not tickers.read(word) or word != word.upper() or not word[0].isalpha():
        return None
    return None if word in _NOT_TICKERS - {"A", "ALL"} else word


def _lower(text: str) -> str | None:
    if command := _LOWER_COMMAND.fullmatch(text.strip()):
        word = command["ticker"]
        return None if word.upper() in _NOT_TICKERS or word in _AMOUNTS else word
    found = {match.group() for match in _LOWER.finditer(text)}
    return found.pop() if len(found) == 1 else None


# In small letters only a bare command with its size is taken for one: "buy aapl 10".
_LOWER_COMMAND = re.compile(
    r"(?i:buy|sell|long|short)\s{1,3}(?P<ticker>[a-z]{1,6})\s{1,3}\d[\d.]{0,20}"
)
_AMOUNTS_TEXT = "all half more some any each just only about around every max"
_AMOUNTS = frozenset(_AMOUNTS_TEXT.split())


def _take_size(text: str, symbol: str, pairs: list[Pair], faults: set[MessageCode]) -> None:
    """A number beside the ticker or the action is the size, unless it looks like a price."""
    tokens = [token for token in _LABELLED.sub(" ~ ", text).split() if token not in _DASHES]
    bare = [token.strip("[](){}$#!.*") for token in tokens]
    place = next((at for at, word in enumerate(bare) if word.upper() == symbol.upper()), None)
    if place is None:
        return
    first, last = place, place
    while first > 0 and bare[first - 1].lower() in _ACTION_WORDS:
        first -= 1
    while last + 1 < len(bare) and bare[last + 1].lower() in _ACTION_WORDS:
        last += 1
    before, after = _before(tokens, bare, first), _after(tokens, bare, last)
    size = before or after
    if not size:
        return
    acts_before = any(word.lower() in _ACTION_WORDS for word in bare[: place + 1])
    is_misplaced = bool(after) and not acts_before and first == last
    number, _, unit = size.partition(" ")
    if (before and after) or is_misplaced or (not unit and looks_like_price(number)):
        faults.add(MessageCode.AMBIGUOUS_NUMBER)
        return
    pairs.append(("quantity", size))


_ACTION_WORDS_TEXT = "buy sell long short exit close cover add"
_ACTION_WORDS = frozenset(_ACTION_WORDS_TEXT.split())
_DASHES = frozenset(["-", "–", "—", "|", "/", ":", "=", ">"])
_CURRENCIES = frozenset({"USD", "USDT", "USDC", "EUR"})
_SIZE = re.compile(r"[-+−]?[$€£]?\d[\d.,']{0,30}(?:[eE][-+]?\d{1,3})?(?:%|[A-Za-z]{0,6})", re.ASCII)


def _is_size(token: str) -> bool:
    return bool(_SIZE.fullmatch(token)) and not _NOT_SIZE.fullmatch(token)


# Timeframes and leverage stand beside tickers too.
_NOT_SIZE = re.compile(r"\d{1,3}(?:m|min|h|H|D|d|W|w|x|X)")


def _is_unit_word(word: str) -> bool:
    if word.lower() in words.UNITS:
        return True
    is_short = word.isascii() and word.isalpha() and word.isupper() and 2 <= len(word) <= 5
    return is_short and (word in _CURRENCIES or word not in _NOT_TICKERS)


def _after(tokens: list[str], bare: list[str], last: int) -> str | None:
    """Return the amount right behind the ticker, two numbers as one that cannot be read."""
    rest = tokens[last + 1 : last + 4]
    if tokens[last].endswith((",", ":", ";")) or not rest:
        return None
    number = rest[0].rstrip(".,;")
    if not _is_size(number):
        return None
    if len(rest) > 1 and _is_size(rest[1]):
        return f"{number} {rest[1]}".replace(" ", "|")
    unit = bare[last + 2].rstrip(",;") if len(rest) > 1 else ""
    return f"{number} {unit}" if unit and _is_unit_word(unit) else number


def _before(tokens: list[str], bare: list[str], first: int) -> str | None:
    place = first - 1
    if place >= 0 and bare[place].lower() == "of":
        place -= 1
    unit = ""
    if place > 0 and _is_unit_word(bare[place]):
        unit = bare[place]
        place -= 1
    if place < 0 or not _is_size(tokens[place]):
        return None
    return f"{tokens[place]} {unit}".strip()
