"""Number text to Decimal: what can be read in only one way is read, the rest is refused.

Nothing here does arithmetic on a number before its size is known: ``int(Decimal("1e999999"))``
takes a minute.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from apps.webhooks.words import ABSENT, UNITS

MAX_INTEGER_DIGITS = 15
MAX_DECIMALS = 12
MAX_LENGTH = 64


class NumberText(str):
    """The text of an unquoted number: its notation is JSON's, so a comma cannot be in it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A number as read, with the unit that stood beside it: base, quote, pct, or as written."""

    value: Decimal
    unit: str | None = None


class Unreadable(ValueError):
    """The text holds no number, or one outside the bounds."""


class Ambiguous(Unreadable):
    """The text can be read as two different numbers: ``1,234``."""


_SHAPE = re.compile(
    r"""
    (?P<sign>[-+]?) \s*
    (?P<currency>(?:US)?[$€£¥₹₩₿]?) \s*
    (?P<sign2>-?)
    (?P<digits>(?:\d|\.\d)[\d.,'\ ]*+)
    (?P<exponent>(?:[eE][-+]?\d{1,6})?) \s*
    (?P<unit>%|[a-z]%|[A-Za-z$€£¥₹₩₿]{1,12})?
    """,
    re.VERBOSE | re.ASCII,
)
_PLAIN = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_GROUPED = re.compile(
    r"\d{1,3}(?:(?:,\d{3})+(?:\.\d*)?|(?:,\d{3}){2,}"
    r"|(?:'\d{3})+(?:[.,]\d*)?|(?:\ \d{3})+(?:[.,]\d*)?)"
    r"|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d*)?",
    re.ASCII,
)
_CONTINENTAL = re.compile(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d+,\d+", re.ASCII)
_ONE_COMMA = re.compile(r"[1-9]\d{0,2},\d{3}", re.ASCII)
_QUANTUM = Decimal(1).scaleb(-MAX_DECIMALS)
_QUOTE_SIGNS = "$€£¥₹₩"


def read(raw: object) -> Number | None:
    """Read a field's value; None when the sender left it out (null, ``NaN``, ``na``, empty).

    Raises:
        Ambiguous: two readings are possible.
        Unreadable: not a number, or more than 15 digits before the point.
    """
    if raw is None:
        return None
    if isinstance(raw, NumberText):
        return Number(_bounded(str(raw)))
    if not isinstance(raw, str):
        raise Unreadable("not a number")
    text = raw.strip()
    if text.lower() in ABSENT:
        return None
    return _read_text(text)


def ascii_digits(text: str) -> str:
    """Turn the decimal digits of other scripts into ASCII ones: ``١٢`` is ``12``."""
    if text.isascii():
        return text
    return "".join(str(int(sign)) if sign.isdecimal() else sign for sign in text)


def _read_text(text: str) -> Number:
    if len(text) > MAX_LENGTH:
        raise Unreadable("longer than any number")
    text = text.replace("−", "-").replace("’", "'").replace("\u00a0", " ")
    shape = _SHAPE.fullmatch(text)
    if not shape:
        raise Unreadable("not a number")
    negative = "-" in (shape["sign"], shape["sign2"])
    value = _bounded(_plain_digits(shape["digits"].strip()) + shape["exponent"])
    return Number(-value if negative else value, _unit(shape["currency"], shape["unit"]))


def _plain_digits(digits: str) -> str:
    if _PLAIN.fullmatch(digits):
        return digits
    if _ONE_COMMA.fullmatch(digits):
        raise Ambiguous("the comma may separate thousands or decimals")
    if _GROUPED.fullmatch(digits):
        # After an apostrophe or a space the comma can only be the decimal one.
        spaced = "'" in digits or " " in digits
        return re.sub("[' ]", "", digits).replace(",", "." if spaced else "")
    if _CONTINENTAL.fullmatch(digits):
        return digits.replace(".", "").replace(",", ".")
    raise Unreadable("not a number")


def _unit(currency: str, suffix: str | None) -> str | None:
    if suffix is None:
        return "quote" if currency and currency[-1] in _QUOTE_SIGNS else None
    if suffix.endswith("%"):
        return "pct"
    if suffix in _QUOTE_SIGNS or suffix == "q":  # OctoBot: 10q is ten of the quote currency.
        return "quote"
    return UNITS.get(suffix.lower(), suffix)


def _bounded(text: str) -> Decimal:
    if len(text) > MAX_LENGTH:
        raise Unreadable("longer than any number")
    value = Decimal(text)
    if not value:
        return Decimal(0)
    if not -MAX_DECIMALS <= value.adjusted() < MAX_INTEGER_DIGITS:
        raise Unreadable("outside the bounds")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
        value = value.quantize(_QUANTUM)
    return Decimal(f"{value:f}")
