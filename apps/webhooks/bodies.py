"""Bytes to text, and text to a tree of JSON values: strictly first, mended where that is safe.

What is mended is said; what would have to be guessed is refused. Depth and the number of tokens
are bounded before anything recurses.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from apps.webhooks.numbers import NumberText

MAX_DEPTH = 8
MAX_DOCUMENTS = 33
# Mending is done in Python, so its work is bounded apart from the body's size.
MAX_MENDED_LENGTH = 32_768
MAX_TOKENS = 4_000

Tree = Any


class NotReadable(ValueError):
    """The text is broken, too deep or too large to be mended without guessing."""


class Doubled(dict[str, Tree]):
    """An object that gave a key twice; ``torn`` are the keys whose values differ."""

    __slots__ = ("torn",)

    torn: frozenset[str]


# ---- bytes to text

_INVISIBLE = [0xAD, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F)]
_INVISIBLE += [*range(0x2060, 0x2070), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE0080)]
_SPACES = [0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000]
# Quotes and the backslash are left out: they must not turn text into structure.
_WIDE = {0xFEE0 + code: code for code in range(0x21, 0x7F) if chr(code) not in "\"'\\"}
_BOLD_STARTS = [*range(0x1D400, 0x1D6A4, 52)]
_BOLD = {
    start + place: ord(letter)
    for start in _BOLD_STARTS
    for place, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
}
_BOLD_DIGITS = {0x1D7CE + place: ord("0") + place % 10 for place in range(50)}
_CLEANING: dict[int, int | str | None] = {
    **dict.fromkeys(_INVISIBLE),
    **dict.fromkeys(_SPACES, " "),
    **_WIDE,
    **_BOLD,
    **_BOLD_DIGITS,
}
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")


def clean(text: str) -> str:
    """Remove invisible marks and turn wide and bold letters and digits into plain ones."""
    return text if text.isascii() else text.translate(_CLEANING)


def decode(body: bytes) -> tuple[str, bool]:
    """Return the body's text, and whether it had to be repaired to be text at all."""
    text, repaired = _decode(body)
    if "%7B" in text[:64] or "%7b" in text[:64]:
        # A relay posted the JSON as a form: as the only key, or as the value of one.
        text, repaired = unquote_plus(text).strip(), True
        text = text.removesuffix("=")
        text = text[text.find("{") :]
    if "&quot;" in text[:256]:
        text, repaired = html.unescape(text), True
    if "\x00" in text:
        text, repaired = text.replace("\x00", "\ufffd"), True
    return clean(text).strip(), repaired


def _decode(body: bytes) -> tuple[str, bool]:
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", errors="replace"), True
    if len(body) >= 4 and body[1::2].count(0) * 4 > len(body):
        return body.decode("utf-16-le", errors="replace"), True
    if len(body) >= 4 and body[::2].count(0) * 4 > len(body):
        return body.decode("utf-16-be", errors="replace"), True
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return body.decode("latin-1"), True
    return text.removeprefix("\ufeff"), text.startswith("\ufeff")


def has_escapes(text: str) -> bool:
    """Say whether the text holds URL escapes such as ``%2F``."""
    return bool(_ESCAPED.search(text))


# ---- text to trees, strictly


def _object(pairs: list[tuple[str, Tree]]) -> dict[str, Tree]:
    tree = dict(pairs)
    if len(tree) == len(pairs):
        return tree
    doubled = Doubled(tree)
    doubled.torn = frozenset(key for key, value in pairs if tree[key] != value)
    return doubled


def _constant(name: str) -> Tree:
    raise NotReadable(name)


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=NumberText,
    parse_int=NumberText,
    parse_constant=_constant,
)
_STRINGS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = re.compile(r"[^\[\]{}]++")


def is_deep(text: str) -> bool:
    """Say whether brackets outside of strings nest more than 8 deep; linear in the text."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    brackets = _NOT_BRACKETS.sub("", _STRINGS.sub("", text)).replace("{", "[").replace("}", "]")
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace("[]", "")
    depth = deepest = 0
    for bracket in brackets[:MAX_TOKENS]:
        depth = depth + 1 if bracket == "[" else max(0, depth - 1)
        deepest = max(deepest, depth)
    # What is left beside unpaired brackets was nested deeper than the passes made.
    return deepest > MAX_DEPTH or "[]" in brackets


def strict(text: str) -> list[Tree]:
    """Read one JSON document, or several written one after another.

    Raises:
        NotReadable: it is not strict JSON.
    """
    documents: list[Tree] = []
    position = 0
    while position < len(text):
        if len(documents) == MAX_DOCUMENTS:
            raise NotReadable("too many documents")
        try:
            tree, position = _STRICT.raw_decode(text, position)
        except (ValueError, RecursionError) as fault:
            raise NotReadable("not strict JSON") from fault
        documents.append(tree)
        position = _after_space(text, position)
        if documents[0].__class__ not in _CONTAINERS and position < len(text):
            raise NotReadable("text that begins with a scalar")
    return documents


_CONTAINERS = (dict, Doubled, list)


# ---- text to trees, mending

_SPACE = re.compile(r"\s*+")
_COMMENT = re.compile(r"\s*+(?:(?://|\#)[^\n]*+\n?|/\*(?:[^*]|\*(?!/))*+\*/)")
_FENCE = re.compile(r"```[a-zA-Z]{0,10}|~~~")
_OPENING = re.compile(r"(?<!\{)\{(?!\{)|(?<![\w\]])\[(?=\s*+[\[{\"'\d])")
_PLACEHOLDER = re.compile(r"\{\{[^{}\n]{1,120}\}\}")
_BARE = re.compile(r"(?:\{\{[^{}\n]{0,120}\}\}|[^,;{}\[\]\n\"“”])++")
_BARE_KEY = re.compile(r"[A-Za-z_$][\w $.%/-]{0,60}+")
_COLON = re.compile(r"\s*+(?:=>|[:=])")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", re.ASCII)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SMART = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "＂": '"'})
_LITERALS: dict[str, Tree] = {
    "true": True, "false": False, "null": None, "none": None, "nan": "NaN", "undefined": None,
    "na": None, "nil": None, "infinity": "Infinity", "-infinity": "-Infinity", "inf": "Infinity",
    "-inf": "-Infinity",
}  # fmt: skip


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def braced(text: str) -> str:
    """Put back the outer braces of an object whose sender left them out."""
    if not _BRACELESS.match(text):
        return text
    # The comma keeps it from being strict JSON, so that the mending is said.
    return "{" + text.rstrip("} \n,") + ",}"


_BRACELESS = re.compile(r'"[\w \-.]{1,40}"\s*+:')


def looks_like_json(text: str) -> bool:
    """Say whether the text is meant as JSON rather than as a sentence."""
    return bool(_OPENING.match(text)) or text.startswith(("{\\", "```"))


def holds_json(text: str) -> bool:
    """Say whether an object may begin somewhere inside the text."""
    return bool(_OPENING.search(text))


def mended(text: str) -> list[Tree]:
    """Read JSON that people broke: commas, quotes, comments, fences, a missing last brace.

    Raises:
        NotReadable: it cannot be mended without guessing.
    """
    if len(text) > MAX_MENDED_LENGTH:
        raise NotReadable("too large to mend")
    text = _FENCE.sub("", text)
    if '"' not in text:
        text = text.translate(_SMART)
    if re.match(r'\s*+[\[{]\s*+\\"', text):
        text = text.replace('\\"', '"').replace("\\n", "\n")
    return list(_documents(text))


def _documents(text: str) -> Iterator[Tree]:
    mender = _Mender(text)
    opening = _OPENING.search(text)
    if not opening:
        raise NotReadable("no object")
    position = opening.start()
    for _ in range(MAX_DOCUMENTS):
        tree, position = mender.value(position, 0)
        yield tree
        position = _after_space(text, position)
        if text[position : position + 1] in (",", ";"):
            position = _after_space(text, position + 1)
        if text[position : position + 1] not in ("{", "["):
            # A sentence after the JSON is ignored; another object in it is not.
            if _OPENING.search(text, position):
                raise NotReadable("an object after text")
            return
    raise NotReadable("too many documents")


class _Mender:
    """A reader of one text that accepts what people write for JSON."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = 0

    def skip(self, position: int) -> int:
        while comment := _COMMENT.match(self.text, position):
            position = comment.end()
        return _after_space(self.text, position)

    def count(self) -> None:
        self.tokens += 1
        if self.tokens > MAX_TOKENS:
            raise NotReadable("too many tokens")

    def value(self, position: int, depth: int) -> tuple[Tree, int]:
        self.count()
        position = self.skip(position)
        sign = self.text[position : position + 1]
        if sign == "{" and not _PLACEHOLDER.match(self.text, position):
            return self.object(position + 1, depth + 1)
        if sign == "[":
            return self.array(position + 1, depth + 1)
        if sign and sign in "\"'`":
            return self.string(position, is_key=False)
        if sign and sign in ",}];":  # A placeholder that came out empty: {"x":}
            return None, position
        return self.bare(position)

    def object(self, position: int, depth: int) -> tuple[Tree, int]:
        if depth > MAX_DEPTH:
            raise NotReadable("too deep")
        pairs: list[tuple[str, Tree]] = []
        while True:
            position = self.skip(position)
            if position >= len(self.text):
                if pairs:  # Cut off between two members.
                    return _object(pairs), position
                raise NotReadable("cut off")
            sign = self.text[position]
            if sign == "}":
                return _object(pairs), position + 1
            if sign in ",;":
                self.count()
                position += 1
                continue
            key, position = self.key(position)
            value, position = self.value(position, depth)
            pairs.append((key, value))

    def array(self, position: int, depth: int) -> tuple[Tree, int]:
        if depth > MAX_DEPTH:
            raise NotReadable("too deep")
        values: list[Tree] = []
        while True:
            position = self.skip(position)
            if position >= len(self.text):
                if values:
                    return values, position
                raise NotReadable("cut off")
            sign = self.text[position]
            if sign == "]":
                return values, position + 1
            if sign in "};":
                raise NotReadable("brackets do not pair up")
            if sign == ",":
                self.count()
                position += 1
                continue
            value, position = self.value(position, depth)
            values.append(value)

    def key(self, position: int) -> tuple[str, int]:
        self.count()
        if self.text[position] in "\"'`":
            key, position = self.string(position, is_key=True)
        else:
            bare = _BARE_KEY.match(self.text, position)
            if not bare:
                raise NotReadable("no key")
            key, position = bare.group().strip(), bare.end()
        colon = _COLON.match(self.text, position)
        if not colon:
            raise NotReadable("no colon")
        if self.skip(colon.end()) >= len(self.text):
            raise NotReadable("cut off after a colon")
        return key, colon.end()

    def string(self, position: int, *, is_key: bool) -> tuple[str, int]:
        quote = self.text[position]
        start = position + 1
        end = start
        while True:
            end = self.text.find(quote, end)
            if end < 0:
                raise NotReadable("cut off inside a string")
            self.count()
            if not self.escaped(start, end) and self.closes(end + 1, quote, is_key=is_key):
                return _unescaped(self.text[start:end]), end + 1
            end += 1

    def escaped(self, start: int, end: int) -> bool:
        slashes = end
        while slashes > start and self.text[slashes - 1] == "\\":
            slashes -= 1
        return (end - slashes) % 2 == 1

    def closes(self, position: int, quote: str, *, is_key: bool) -> bool:
        """Say whether a quote just before ``position`` ends its string or stands inside it."""
        if is_key:
            return bool(_COLON.match(self.text, position))
        after = _after_space(self.text, position)
        sign = self.text[after : after + 1]
        if sign == "" or sign in ",}];":
            return True
        if self.text.startswith(("//", "/*"), after):
            return True
        # A comma was forgotten: the next thing on the line below, or beside, is a key.
        if sign == quote:
            closing = self.text.find(quote, after + 1, after + 64)
            return closing > 0 and bool(_COLON.match(self.text, closing + 1))
        return sign == "#" and "\n" not in self.text[position:after]

    def bare(self, position: int) -> tuple[Tree, int]:
        match = _BARE.match(self.text, position)
        if not match:
            raise NotReadable("no value")
        word = re.split(r"\s(?://|\#)", match.group(), maxsplit=1)[0].strip()
        end = position + len(match.group()) if word else match.end()
        literal = word.lower()
        if literal in _LITERALS:
            return _LITERALS[literal], end
        if _NUMBER.fullmatch(word):
            return NumberText(word), end
        if end >= len(self.text) and not word.endswith("}}"):
            raise NotReadable("cut off inside a word")
        return word, end


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_unescape, text)


def _unescape(match: re.Match[str]) -> str:
    escape = match.group()
    if escape[1] == "u" and len(escape) == 6:
        return chr(int(escape[2:], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "b": "", "f": ""}.get(escape[1], escape[1])
