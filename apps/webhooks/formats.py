"""The reading of alerts: any bytes in, one canonical reading out, in bounded time.

TradingView lets its users write what they like, so this room understands the formats of the
services that they come from. It never raises and never guesses: a body that can be read in two
ways gets an error and no action. Where the work is done: ``bodies`` (bytes to trees), ``texts``,
``commands`` and ``prose`` (everything that is not JSON), ``fields`` (values under their names),
``interpretation`` (those to a reading), ``actions``, ``sizes``, ``times``, ``tickers``,
``numbers`` and ``words``.
"""

from dataclasses import replace
from typing import Any

from apps.webhooks import bodies, fields, interpretation, texts, words
from apps.webhooks.numbers import NumberText
from apps.webhooks.readings import EXPLANATIONS, MessageCode, ParsedAlert

__all__ = ["EXPLANATIONS", "MAX_BODY", "MessageCode", "ParsedAlert", "parse"]

MAX_BODY = 131_072

Tree = Any


def parse(body: bytes) -> ParsedAlert:
    """Read an alert's body; what is wrong with it is in ``error``, never raised."""
    if len(body) > MAX_BODY:
        return ParsedAlert(error=MessageCode.TOO_LARGE)
    text, is_decoded = bodies.decode(body)
    reading = _parse_text(text, nesting=0)
    return _marked(reading, MessageCode.ENCODING_REPAIRED) if is_decoded else reading


def _marked(reading: ParsedAlert, fault: MessageCode) -> ParsedAlert:
    """Add a fault to a reading, unless it already carries a graver one."""
    error = interpretation.gravest([fault, reading.error] if reading.error else [fault])
    return reading if error == reading.error else replace(reading, error=error)


def _parse_text(text: str, *, nesting: int) -> ParsedAlert:
    if not text or text.isspace():
        return ParsedAlert(error=MessageCode.EMPTY)
    text = bodies.braced(text)
    if bodies.is_deep(text):
        return ParsedAlert(error=MessageCode.UNPARSEABLE)
    try:
        return _of_documents(bodies.strict(text), nesting=nesting)
    except bodies.NotReadable:
        pass
    is_long = len(text) > bodies.MAX_MENDED_LENGTH
    if not bodies.looks_like_json(text) and (is_long or not bodies.holds_json(text)):
        return _of_text(text)
    reading = texts.script(text)
    return reading if reading is not None else _of_broken(text, nesting=nesting)


def _of_text(text: str) -> ParsedAlert:
    if not any(sign.isalnum() for sign in text[: texts.MAX_LENGTH]) or "\ufffd" in text:
        return ParsedAlert(error=MessageCode.UNPARSEABLE)
    return texts.read(text)


def _of_broken(text: str, *, nesting: int) -> ParsedAlert:
    try:
        documents = bodies.mended(text)
    except bodies.NotReadable:
        # A brace inside a sentence is no reason to refuse the sentence.
        if bodies.looks_like_json(text) or '"' in text:
            return ParsedAlert(error=MessageCode.UNPARSEABLE)
        return _of_text(text)
    return _marked(_of_documents(documents, nesting=nesting), MessageCode.JSON_REPAIRED)


def _of_documents(documents: list[Tree], *, nesting: int) -> ParsedAlert:
    if len(documents) > 1:
        return _of_many(documents, {}, nesting=nesting)
    return _of_tree(documents[0], nesting=nesting)


def _of_tree(tree: Tree, *, nesting: int) -> ParsedAlert:
    if isinstance(tree, dict):
        return _of_object(tree, nesting=nesting)
    if isinstance(tree, list):
        if not tree:
            return ParsedAlert(error=MessageCode.EMPTY)
        if len(tree) == 1:
            return _of_tree(tree[0], nesting=nesting)
        return _of_many(tree, {}, nesting=nesting)
    if tree is None:
        return ParsedAlert(error=MessageCode.EMPTY)
    if isinstance(tree, str) and not isinstance(tree, NumberText):
        reading = _of_string(tree, nesting=nesting)
        is_twice = tree.lstrip().startswith(("{", "["))
        return _marked(reading, MessageCode.JSON_REPAIRED) if is_twice else reading
    return ParsedAlert(error=MessageCode.NO_ACTION)


def _of_string(text: str, *, nesting: int) -> ParsedAlert:
    """A JSON string is a text of its own, or JSON that was encoded twice."""
    if nesting > 1:
        return ParsedAlert(error=MessageCode.UNPARSEABLE)
    return _parse_text(bodies.clean(text).strip(), nesting=nesting + 1)


def _of_object(tree: dict[str, Tree], *, nesting: int) -> ParsedAlert:
    if not tree:
        return ParsedAlert(error=MessageCode.EMPTY)
    batch = _batch(tree)
    if batch is not None:
        inherited = {key: value for key, value in tree.items() if value is not batch}
        if len(batch) == 1:
            return interpretation.read(fields.collect(batch[0], inherited))
        return _of_many(batch, inherited, nesting=nesting)
    found = fields.collect(tree)
    reading = interpretation.read(found)
    if reading.action is None and reading.ticker is None and reading.error in _SILENT:
        message = found.first("message") or _only_text(tree)
        if isinstance(message, str) and not isinstance(message, NumberText):
            inner = _of_string(message, nesting=nesting)
            secret_seen = inner.secret_seen or reading.secret_seen
            if inner.error != MessageCode.UNPARSEABLE:
                return replace(inner, secret_seen=secret_seen)
    return reading


_SILENT = (MessageCode.NO_ACTION, MessageCode.NO_TICKER)


def _only_text(tree: dict[str, Tree]) -> Tree:
    """The text of an envelope with one key, whatever the relay calls it."""
    return next(iter(tree.values())) if len(tree) == 1 else None


def _batch(tree: dict[str, Tree]) -> list[dict[str, Tree]] | None:
    for key, value in tree.items():
        if not isinstance(value, list) or not value or not isinstance(value[0], dict):
            continue
        if words.FIELDS.get(words.fold(key[:60]), ("", 0))[0] == "signals":
            return [item for item in value if isinstance(item, dict)]
    return None


def _of_many(trees: list[Tree], inherited: dict[str, Tree], *, nesting: int) -> ParsedAlert:
    if len(trees) > texts.MAX_SIGNALS:
        return ParsedAlert(error=MessageCode.MULTIPLE_SIGNALS)
    readings = [
        interpretation.read(fields.collect(tree, inherited))
        if isinstance(tree, dict)
        else _of_string(tree, nesting=nesting + 1)
        if isinstance(tree, str) and not isinstance(tree, NumberText)
        else ParsedAlert(error=MessageCode.NO_ACTION)
        for tree in trees
    ]
    if all(reading.action is None and reading.ticker is None for reading in readings):
        return ParsedAlert(error=MessageCode.NO_ACTION)
    return texts.several(readings, is_chain=False)
