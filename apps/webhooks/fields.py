"""What a sender named: the values of an object or a text, sorted under the fields they mean."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from apps.webhooks import numbers, words
from apps.webhooks.bodies import Doubled, clean
from apps.webhooks.numbers import NumberText
from apps.webhooks.readings import MessageCode

Tree = Any

PLACEHOLDER = re.compile(r"\{\{[^{}]{0,200}\}\}")
MAX_SHORT_TEXT = 120
MAX_WALK = 20_000
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(slots=True)
class Found:
    """What was collected for one order: field -> its values, the clearest first."""

    values: dict[str, list[tuple[int, int, Tree]]] = field(default_factory=dict)
    faults: set[MessageCode] = field(default_factory=set)
    set_aside: list[str] = field(default_factory=list)
    visited: int = 0

    def put(self, name: str, value: Tree, *, rank: int = 0, depth: int = 0) -> None:
        self.values.setdefault(name, []).append((depth, rank, value))

    @property
    def size(self) -> int:
        return sum(map(len, self.values.values()))

    def expect(self, name: str, *, known: int) -> None:
        """A quantity that is an object and holds nothing we know is not the same as none."""
        if name == "quantity" and self.size == known:
            self.faults.add(MessageCode.AMBIGUOUS_NUMBER)

    def all(self, name: str) -> list[Tree]:
        """Return the field's values, from the shallowest and clearest name on."""
        found = self.values.get(name)
        if not found:
            return []
        if len(found) == 1:
            return [found[0][2]]
        return [value for _, _, value in sorted(found, key=place_of)]

    def first(self, name: str) -> Tree:
        """Return the field's first value that is not empty."""
        for value in self.all(name):
            if value is not None and value != "":
                return value
        return None

    def text(self, name: str, limit: int = MAX_SHORT_TEXT) -> str | None:
        """Return the field as text; a placeholder that was not filled in is a fault."""
        for value in self.all(name):
            if not isinstance(value, str):
                continue
            if PLACEHOLDER.search(value):
                self.faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
                continue
            text = CONTROLS.sub(" ", clean(value)).strip()[:limit]
            if text and text.lower() not in ("na", "nan", "null", "none"):
                return text
        return None

    def number(self, name: str) -> numbers.Number | None:
        """Return the field's first number; text that is read in two ways is a fault."""
        for value in self.all(name):
            if isinstance(value, str) and not isinstance(value, NumberText):
                if PLACEHOLDER.search(value):
                    self.faults.add(MessageCode.UNRESOLVED_PLACEHOLDER)
                    continue
                value = clean(numbers.ascii_digits(value))
            if isinstance(value, list):
                value = next((item for item in value if isinstance(item, str)), None)
            if isinstance(value, bool | dict):
                continue
            try:
                number = numbers.read(value)
            except numbers.Unreadable:
                self.faults.add(MessageCode.AMBIGUOUS_NUMBER)
                self.set_aside.append(name)
                return None
            if number is not None:
                return number
        return None


def place_of(entry: tuple[int, int, Tree]) -> tuple[int, int]:
    return entry[0], entry[1]


def collect(tree: dict[str, Tree], inherited: dict[str, Tree] | None = None) -> Found:
    """Walk an object and sort its values under the fields that they mean."""
    found = Found()
    _walk(tree, found, depth=0, context="")
    for key, value in (inherited or {}).items():
        if not isinstance(value, dict | list):
            _sort(key, value, found, depth=9, context="")
    return found


def collect_pairs(pairs: Iterable[tuple[str, str]]) -> Found:
    """Sort the pairs of a text; a name given twice with two values is a fault."""
    found = Found()
    seen: dict[str, str] = {}
    for key, value in pairs:
        if seen.get(key, value) != value:
            found.faults.add(MessageCode.DUPLICATE_KEY)
            found.values.pop(_meaning(key, "")[0], None)
            continue
        seen[key] = value
        _sort(key, value, found, depth=0, context="")
    return found


def _walk(tree: dict[str, Tree], found: Found, *, depth: int, context: str) -> None:
    torn: frozenset[str] = frozenset()
    if isinstance(tree, Doubled):
        found.faults.add(MessageCode.DUPLICATE_KEY)
        torn = tree.torn
    for key, value in tree.items():
        found.visited += 1
        if found.visited > MAX_WALK:
            return
        if key in torn:
            continue
        if isinstance(value, dict | list):
            _descend(key, value, found, depth=depth, context=context)
        else:
            _sort(key, value, found, depth=depth, context=context)


def _descend(
    key: str, value: dict[str, Tree] | list[Tree], found: Found, *, depth: int, context: str
) -> None:
    name = words.fold(key[:MAX_SHORT_TEXT])
    inner = words.CONTEXTS.get(name, context if context == "ignored" else "")
    if isinstance(value, list):
        if inner == "take_profit" and value:
            # Several targets: the first is the nearest.
            if isinstance(value[0], dict):
                value = value[0]
            else:
                found.put("take_profit", value[0], depth=depth)
                return
        else:
            meaning = _meaning(key, context)[0]
            if meaning == "ticker" or meaning.startswith("quantity"):
                # A list where one value belongs is told, not overlooked.
                found.put(meaning, value, depth=depth)
            return
    if inner == "instrument":
        if not {"ticker", "symbol", "name", "id"} & {words.fold(part) for part in value}:
            found.put("ticker", value, depth=depth)
        elif name not in ("ticker", "symbol", "instrument"):
            inner = "ignored" if not {"ticker", "symbol"} & value.keys() else inner
    known = found.size
    _walk(value, found, depth=depth + 1, context=inner)
    found.expect(_meaning(key, context)[0], known=known)


def _sort(key: str, value: Tree, found: Found, *, depth: int, context: str) -> None:
    name, rank = _meaning(key, context)
    if name:
        found.put(name, value, rank=rank, depth=depth)


@lru_cache(maxsize=8192)
def _meaning_of(folded: str, context: str) -> tuple[str, int]:
    special = words.IN_CONTEXT.get(context, {}).get(folded)
    if special:
        return special, 0
    if context not in words.OPEN_CONTEXTS:
        return "", 0
    return words.FIELDS.get(folded, ("", 0))


def _meaning(key: str, context: str) -> tuple[str, int]:
    return _meaning_of(words.fold(key), context) if len(key) <= MAX_SHORT_TEXT else ("", 0)
