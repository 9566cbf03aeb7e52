"""Alerts that are not JSON: sentences, key=value lines, comma-separated commands, scripts."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from urllib.parse import unquote_plus

from apps.webhooks import actions, commands, fields, interpretation, prose, words
from apps.webhooks.bodies import has_escapes
from apps.webhooks.commands import Command, Pair
from apps.webhooks.readings import MessageCode, ParsedAlert

MAX_SEGMENTS = 400
MAX_SIGNALS = 32
# Longer texts are logs; an order is at their beginning or not in them.
MAX_LENGTH = 16_384


def read(text: str) -> ParsedAlert:
    """Read a text that is no JSON; what it does not say plainly stays unsaid."""
    is_cut = len(text) > MAX_LENGTH
    text = _MARKUP_SIGNS.sub("", text[:MAX_LENGTH])
    for form in _WHOLE_FORMS:
        reading = form(text)
        if reading is not None:
            return reading
    faults: set[MessageCode] = set()
    if fields.PLACEHOLDER.search(text):
        faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
        text = fields.PLACEHOLDER.sub(" ", text)
    if is_cut:
        # The order may be contradicted in what was not read.
        faults.add(MessageCode.AMBIGUOUS_ACTION)
    # Long runs of spaces would cost the separators below the square of their length.
    reading = _read_segments(_SPACES.sub(" ", text))
    return _with_faults(reading, faults)


_SPACES = re.compile(r"[^\S\n]{2,}+")
_MARKUP_SIGNS = re.compile(r"\*\*|__(?=\w)|(?<=\w)__|`|\r")


def _with_faults(reading: ParsedAlert, faults: Iterable[MessageCode]) -> ParsedAlert:
    error = interpretation.gravest([*faults, *([reading.error] if reading.error else [])])
    if MessageCode.AMBIGUOUS_ACTION in faults:
        reading = replace(reading, action=None)
    return replace(reading, error=error)


def _as_alert(parts: Iterable[Command]) -> ParsedAlert:
    pairs: list[Pair] = []
    faults: set[MessageCode] = set()
    for command in parts:
        pairs += command.pairs
        faults |= command.faults
    if any(key == "SIGNAL" for key, _ in pairs):
        # In OctoBot's lines VOLUME is the order's size; anywhere else it is the bar's volume.
        pairs = [("quantity" if key == "VOLUME" else key, value) for key, value in pairs]
    found = fields.collect_pairs(pairs)
    found.faults |= faults
    if faults & {MessageCode.AMBIGUOUS_ACTION, MessageCode.CONTRADICTORY_ACTION}:
        found.values.pop("action", None)
    return interpretation.read(found)


# ---- forms that take the whole text

_DEFAULT = re.compile(
    r"(?:(?P<name>[^\n]{1,300}?):\s{1,4})?order\s{1,4}(?P<action>\w{1,12})\s{1,4}@\s{1,4}"
    r"(?P<quantity>[^\s]{1,40})\s{1,4}filled\s{1,4}on\s{1,4}(?P<symbol>[^\s]{1,80}?)\.?"
    r"(?:\s{1,4}New\s{1,4}strategy\s{1,4}position\s{1,4}is\s{1,4}(?P<positionsize>[^\s]{1,40}?))?\.?",
    re.IGNORECASE,
)
_CREDENTIAL = re.compile(r"\([^()]{0,80}(?:secret|token|pass|key)[^()]{0,80}\)", re.IGNORECASE)


def _default_sentence(text: str) -> ParsedAlert | None:
    """TradingView's own text for strategy alerts, which most users leave as it is."""
    match = _DEFAULT.fullmatch(text)
    if not match:
        return None
    parts = {key: value for key, value in match.groupdict().items() if value}
    name = parts.pop("name", "").partition(" | ")[0]
    if _CREDENTIAL.search(match["name"] or ""):
        parts["secret"] = "seen"  # noqa: S105 - only that there was one.
    parts["strategy"] = _CREDENTIAL.sub("", name).strip()
    return interpretation.read(fields.collect_pairs(parts.items()))


_CROSSING = re.compile(
    r"(?P<series>[^\s,]{1,60})(?:\s\([^()]{0,60}\))?,?\s{1,4}"
    r"(?:crossing(?:\sup|\sdown)?|greater\sthan|less\sthan|moving\s(?:up|down)"
    r"|(?:entering|exiting|inside|outside)\schannel)\s{1,4}(?P<value>[\d][\d.,]{0,30}?)"
    r"(?:\son\s(?P<symbol>[^\s,]{1,60})(?:,\s?(?P<timeframe>\w{1,8}))?)?\.?",
    re.IGNORECASE,
)


def _price_alert(text: str) -> ParsedAlert | None:
    """TradingView's own text for price alerts: something crossed something; no action."""
    match = _CROSSING.fullmatch(text)
    if not match:
        return None
    series = match["series"]
    command = Command()
    symbol = match["symbol"] or (series if prose.may_be_ticker(series) else None)
    if symbol:
        command.add("symbol", symbol)
    if series == symbol or words.fold(series) in ("close", "price"):
        command.add("price", match["value"])
    if match["timeframe"]:
        command.add("timeframe", match["timeframe"])
    return _as_alert([command])


_BLOCK = re.compile(
    r"[\w.\- ]{1,60}\((?P<symbol>[^(){}]{1,60})\)\s{0,8}\{(?P<body>[^{}]{0,4000})\}"
)
_CALL = re.compile(r"(?P<name>[A-Za-z_]\w{0,40})\s?\((?P<arguments>[^()]{0,400})\)")
_ARGUMENT = re.compile(r"(?P<key>[A-Za-z_]\w{0,40})\s?[=:]\s?(?P<value>[^,;]{1,80})")
_CANCEL = re.compile(r"(?<!\w)cancel\s?\(", re.IGNORECASE)
_ENTRIES = frozenset(
    {"market", "limit", "order", "stopormarket", "stoporder", "scaledorder", "marketorder"}
    | {"limitorder", "stop", "pingpong", "twap", "iceberg", "steppedmarket", "waitingLimit".lower()}
)


def script(text: str) -> ParsedAlert | None:
    """Alertatron's scripts: ``Keys(BTCUSDT) { market(side=buy, amount=10%); }``."""
    orders: list[Command] = []
    # A placeholder's braces are not a script's.
    text = text[:MAX_LENGTH].replace("{{", "⟦").replace("}}", "⟧")
    blocks = list(_BLOCK.finditer(text))
    if not blocks:
        return None
    for block in blocks:
        shared = Command(
            [("symbol", block["symbol"].strip().replace("⟦", "{{").replace("⟧", "}}"))]
        )
        found: list[Command] = []
        for call in _CALL.finditer(block["body"]):
            _take_call(call["name"], call["arguments"], shared, found)
        if not found:
            found = [Command([("action", "cancel")] if _CANCEL.search(block["body"]) else [])]
        orders += [Command(shared.pairs + order.pairs, order.faults) for order in found]
    return _one_or_many(orders)


def _take_call(name: str, arguments: str, shared: Command, orders: list[Command]) -> None:
    folded = words.fold(name)
    given = {
        words.fold(match["key"]): match["value"].strip().replace("⟦", "{{").replace("⟧", "}}")
        for match in _ARGUMENT.finditer(arguments)
    }
    if folded in _ENTRIES:
        orders.append(_entry(folded, given))
    elif folded in ("stoploss", "takeprofit") and "price" in given:
        shared.add(folded, given["price"])
    elif folded in ("stoploss", "takeprofit", "trailingstop", "trailingstoploss"):
        shared.add("trailoffset", arguments or "given")
    elif folded.startswith("close"):
        orders.append(Command([("action", folded)]))


def _entry(kind: str, given: dict[str, str]) -> Command:
    order = Command()
    if kind in words.ORDER_TYPES:
        order.add("order_type", kind)
    for key in ("side", "amount", "price", "reduceonly"):
        if key in given:
            order.add(key, given[key])
    if "side" not in given and "position" in given:
        _take_target(order, given["position"])
    if "offset" in given and "price" not in given:
        order.add("trailoffset", given["offset"])
    return order


def _take_target(order: Command, position: str) -> None:
    """A position to reach: only flat says which order that is without knowing the position."""
    if re.fullmatch(r"-?0(?:\.0*)?%?", position):
        order.add("action", "close")
    else:
        order.add("target_position", position)
        order.add("positionsize", position)


_TAG = re.compile(r"<(?P<key>\w{1,40})>\s{0,40}(?P<value>[^<>]{0,400}?)\s{0,40}</(?P=key)>")


def _markup(text: str) -> ParsedAlert | None:
    if not text.startswith("<") or not text.endswith(">"):
        return None
    pairs = [(match["key"], match["value"]) for match in _TAG.finditer(text)]
    if not pairs:
        return ParsedAlert(error=MessageCode.UNPARSEABLE)
    return interpretation.read(fields.collect_pairs(pairs))


def _form(text: str) -> ParsedAlert | None:
    """A form: ``ticker=AAPL&action=buy``, with or without URL escapes."""
    if "&" not in text or any(sign in text for sign in " \n;{"):
        return None
    parts = [part.partition("=") for part in text.split("&", MAX_SEGMENTS)]
    if not all(equals and re.fullmatch(r"[\w.\-%\[\]]{1,60}", key) for key, equals, _ in parts):
        return None
    pairs = [(unquote_plus(key), unquote_plus(value)) for key, _, value in parts]
    reading = interpretation.read(fields.collect_pairs(pairs))
    return _with_faults(reading, [MessageCode.ENCODING_REPAIRED] if has_escapes(text) else [])


def _table(text: str) -> ParsedAlert | None:
    """A table with a line of headings: ``ticker,action,price`` and the values below."""
    lines = [line for line in text.split("\n", MAX_SIGNALS + 2) if line.strip()]
    if not 2 <= len(lines) <= MAX_SIGNALS:
        return None
    keys = [key.strip() for key in lines[0].split(",")]
    if len(keys) < 2 or not all(words.fold(key[:60]) in words.FIELDS for key in keys):
        return None
    rows = [[value.strip() for value in line.split(",")] for line in lines[1:]]
    if any(len(row) != len(keys) for row in rows):
        return ParsedAlert(error=MessageCode.UNPARSEABLE)
    readings = [
        interpretation.read(fields.collect_pairs(zip(keys, row, strict=True))) for row in rows
    ]
    return readings[0] if len(readings) == 1 else several(readings, is_chain=False)


_WHOLE_FORMS: tuple[Callable[[str], ParsedAlert | None], ...] = (
    _default_sentence,
    _price_alert,
    script,
    _markup,
    _form,
    _table,
)


# ---- several orders in one body


def several(readings: list[ParsedAlert], *, is_chain: bool) -> ParsedAlert:
    """Make the reading of a body with several orders: the first, marked as one of several.

    A chain of commands is one intention in steps, so its action is only given if all agree, and
    its numbers not at all.
    """
    first = readings[0]
    if is_chain:
        is_one = len({reading.action for reading in readings}) == 1
        first = ParsedAlert(
            ticker=next((reading.ticker for reading in readings if reading.ticker), None),
            exchange=next((reading.exchange for reading in readings if reading.exchange), None),
            action=first.action if is_one else None,
            secret_seen=any(reading.secret_seen for reading in readings),
        )
    return replace(first, signals=tuple(readings), error=MessageCode.MULTIPLE_SIGNALS)


def _one_or_many(orders: list[Command]) -> ParsedAlert:
    readings = [_as_alert([command]) for command in orders[:MAX_SIGNALS]]
    return readings[0] if len(readings) == 1 else several(readings, is_chain=True)


# ---- segments

_SEPARATOR = re.compile(r"[^\S\n]*+[\n;]\s*+|\s{1,8}\|\s{1,8}")


def _read_segments(text: str) -> ParsedAlert:
    if _OTHER_COMMAS.fullmatch(text):
        text = re.sub("[;|]", ",", text)
    segments = [part for part in _SEPARATOR.split(text, MAX_SEGMENTS) if part and part.strip()]
    parts = [_segment(segment.strip()) for segment in segments]
    whole = [command for command in parts if command.is_whole()]
    orders = {_identity(command) for command in whole}
    if len(orders) > 1:
        return _one_or_many(whole)
    for command in parts:
        turned = next((actions.reversal(value) for _, value in command.pairs), None)
        if turned:
            return _reversed(command, turned)
    return _as_alert(parts or [Command()])


def _identity(command: Command) -> tuple[str | None, str]:
    named = {commands.field_of(key): value for key, value in command.pairs}
    action = named.get("action") or named.get("action_hint", "")
    return actions.of_word(action) or action, named["ticker"].upper()


def _reversed(command: Command, turned: tuple[str, str]) -> ParsedAlert:
    rest = [pair for pair in command.pairs if pair[0] != "action"]
    symbol = [pair for pair in rest if pair[0] in ("symbol", "license")]
    return _one_or_many(
        [
            Command([("action", turned[0]), *symbol], command.faults),
            Command([("action", turned[1]), *rest], command.faults),
        ]
    )


# A command whose fields are parted by semicolons or bars: buy;AAPL;10
_OTHER_COMMAS = re.compile(r"[\w.\-%!/]{1,40}(?:[;|][\w.\-%!/]{1,40}){1,6}")
_KEY_VALUE = re.compile(
    r"[^\w$#]{0,8}(?P<key>[A-Za-z][\w /().%\-]{0,40}?)\s{0,4}(?P<sign>[:=])"
    r"(?P<value>\s{0,8}\S.{0,2000})"
)
_ONE_WORD = re.compile(r"[\w\-]+")
_PREFIX = re.compile(r"(?:^|\s)[A-Z][A-Z0-9_]+$", re.ASCII)
_TOKEN = re.compile(
    r"(?<![\w.])(?P<key>[A-Za-z_][\w.]{0,40})=(?P<value>\"[^\"]{0,200}\"|[^\s,;&|\"]{1,120})"
)


def _segment(segment: str) -> Command:
    if _ONE_WORD.fullmatch(segment) and (action := actions.of_code(segment)):
        return Command([("action", action)])
    if commands.BARE_NUMBER.fullmatch(segment):
        return Command(faults={MessageCode.AMBIGUOUS_NUMBER})
    command = commands.comma_separated(segment)
    if command is not None:
        return command
    tokens = [(match["key"], match["value"].strip('"')) for match in _TOKEN.finditer(segment)]
    if len(tokens) > 1 or (tokens and not segment.startswith(tokens[0][0])):
        return _tokens(segment, tokens)
    match = _KEY_VALUE.fullmatch(segment)
    if match:
        return _key_value(segment, match)
    return _sentence(segment)


def _tokens(segment: str, tokens: list[Pair]) -> Command:
    keys = {key.lower() for key, _ in tokens}
    rest = _TOKEN.sub(" ", segment).strip(" ,&|")
    if keys & {"e", "s"} and keys & {"b", "c"}:
        return _autoview(tokens)
    command = _sentence(rest) if rest else Command()
    command.pairs += [(words.SHORT_NAMES.get(key.lower(), key), value) for key, value in tokens]
    return command


def _autoview(tokens: list[Pair]) -> Command:
    command = Command()
    given = {key.lower(): value for key, value in tokens}
    verb = given.pop("c", "").lower()
    side = given.pop("b", "").lower()
    if verb == "position":
        # Closing is named by the side to buy or sell: b=short sells what is long.
        command.add("action", "close" if side in ("", "all") else f"close {side}")
    elif verb:
        command.add("action", "cancel")
    elif side:
        command.add("side", side)
    for key, value in given.items():
        if key in ("sl", "tp", "p", "ts"):
            command.add("trailoffset", value)
        else:
            command.add(words.AUTOVIEW.get(key, key), value)
    return command


def _key_value(segment: str, match: re.Match[str]) -> Command:
    key, value = match["key"].strip(), match["value"]
    folded = words.fold(key)
    meaning = words.FIELDS.get(folded, ("", 0))[0]
    if not meaning and match["sign"] == ":" and not value[0].isspace() and _PREFIX.search(key):
        return _sentence(segment)  # An exchange prefix.
    value = value.strip()
    if meaning and (meaning not in _HEADINGS or actions.of_word(value)):
        return Command([(key, value)])
    if not meaning and (prose.may_be_ticker(key) or actions.in_sentence(key) != (None, None)):
        return _sentence(segment)
    if meaning or any(word in folded for word in ("alert", "signal", "order")):
        return _sentence(value)
    return Command()


# "Signal: BUY" is a field; "Signal: buy AAPL now" is a heading above a sentence.
_HEADINGS = ("action_hint", "message")


def _sentence(text: str) -> Command:
    pairs, faults = prose.read(text)
    return Command(pairs, faults)
