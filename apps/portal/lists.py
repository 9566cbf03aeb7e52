"""What every list can do: search, filter, sort, page by cursor, and leave as CSV.

All of it stands in the address, so that a list can be kept as a bookmark and sent to somebody.
"""

import base64
import binascii
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse

ROWS: Final = 50
MOST_EXPORTED: Final = 50_000
LONGEST_SEARCH: Final = 100
# What a spreadsheet would take for a formula.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

Rows = QuerySet[Any]
Choices = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head; ``sort`` is the field behind it where it can be sorted by."""

    label: str
    sort: str = ""
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """One choice above a list."""

    name: str
    label: str
    choices: Choices | Callable[[], Choices]
    narrow: Callable[[Rows, str], Rows]
    # What is shown when nothing is chosen.
    unchosen: str = "All"

    def offered(self) -> Choices:
        return self.choices() if callable(self.choices) else self.choices


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter with what was chosen."""

    name: str
    label: str
    choices: Choices
    value: str
    unchosen: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A column's head with the address that sorts by it."""

    label: str
    is_number: bool
    url: str = ""
    direction: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a list shows now."""

    rows: list[Any]
    headings: list[Heading]
    filters: list[Asked]
    search: str
    has_search: bool
    sort: str
    here: str
    first_url: str
    next_url: str
    export_url: str
    clear_url: str

    @property
    def is_narrowed(self) -> bool:
        return bool(self.search or any(asked.value for asked in self.filters))


@dataclass(frozen=True, slots=True)
class Listing:
    """A list and what can be asked of it.

    Attributes:
        search: lookups in which the typed words are looked for.
        export: heads and values of the CSV.
        sort: how it is sorted when nothing was asked; a leading minus is newest first.
    """

    name: str
    columns: Sequence[Column]
    export: Mapping[str, Callable[[Any], Any]]
    filters: Sequence[Filter] = ()
    search: Sequence[str] = ()
    sort: str = "-id"

    def page(self, request: HttpRequest, rows: Rows) -> Page:
        asked, search, sort = self._asked(request)
        rows = self._narrowed(rows, asked, search)
        name, is_down = sort.lstrip("-"), sort.startswith("-")
        direction = "-" if is_down else ""
        ordering = list(dict.fromkeys([f"{direction}{name}", f"{direction}pk"]))
        behind = _after(rows.model, name, is_down, request.GET.get("cursor", ""))
        found = list(rows.filter(behind).order_by(*ordering)[: ROWS + 1])
        shown = found[:ROWS]
        state = _state(asked, search, sort if sort != self.sort else "")
        cursor = _cursor(shown[-1], name) if len(found) > ROWS else ""
        return Page(
            rows=shown,
            headings=[self._heading(column, sort, asked, search) for column in self.columns],
            filters=asked,
            search=search,
            has_search=bool(self.search),
            sort=sort if sort != self.sort else "",
            here=request.get_full_path(),
            first_url=_url(request, state) if "cursor" in request.GET else "",
            next_url=_url(request, state | {"cursor": cursor}) if cursor else "",
            export_url=_url(request, state | {"format": "csv"}) if shown else "",
            clear_url=request.path,
        )

    def csv(self, request: HttpRequest, rows: Rows) -> HttpResponse:
        """All rows that the filters leave, up to fifty thousand."""
        asked, search, sort = self._asked(request)
        found = self._narrowed(rows, asked, search).order_by(sort)[:MOST_EXPORTED]
        return csv_of(self.name, self.export, found)

    def _asked(self, request: HttpRequest) -> tuple[list[Asked], str, str]:
        asked = []
        for each in self.filters:
            choices, value = each.offered(), request.GET.get(each.name, "")
            known = {key for key, _ in choices}
            chosen = value if value in known else ""
            asked.append(Asked(each.name, each.label, choices, chosen, each.unchosen))
        search = request.GET.get("q", "").strip()[:LONGEST_SEARCH] if self.search else ""
        sorts = {column.sort for column in self.columns if column.sort}
        sort = request.GET.get("sort", "")
        return asked, search, sort if sort.lstrip("-") in sorts else self.sort

    def _narrowed(self, rows: Rows, asked: Sequence[Asked], search: str) -> Rows:
        for each, chosen in zip(self.filters, asked, strict=True):
            if chosen.value:
                rows = each.narrow(rows, chosen.value)
        for word in search.replace("\0", "").split():
            rows = rows.filter(_any_of(self.search, word))
        return rows

    def _heading(self, column: Column, sort: str, asked: Sequence[Asked], search: str) -> Heading:
        if not column.sort:
            return Heading(column.label, column.is_number)
        is_sorted = sort.lstrip("-") == column.sort
        other = column.sort if sort == f"-{column.sort}" else f"-{column.sort}"
        direction = ("descending" if sort.startswith("-") else "ascending") if is_sorted else ""
        url = f"?{urlencode(_state(asked, search, other))}"
        return Heading(column.label, column.is_number, url, direction)


def csv_of(
    name: str, export: Mapping[str, Callable[[Any], Any]], rows: Iterable[Any]
) -> HttpResponse:
    """A file of comma-separated values with a line of heads."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(export)
    for row in rows:
        writer.writerow([_cell(value(row)) for value in export.values()])
    return HttpResponse(
        written.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}.csv"',
            "Cache-Control": "no-store",
        },
    )


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return value.isoformat()
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _any_of(lookups: Sequence[str], word: str) -> Q:
    found = Q()
    for lookup in lookups:
        found |= Q(**{f"{lookup}__icontains": word})
    return found


def _state(asked: Sequence[Asked], search: str, sort: str) -> dict[str, str]:
    state = {each.name: each.value for each in asked} | {"q": search, "sort": sort}
    return {name: value for name, value in state.items() if value}


def _url(request: HttpRequest, state: Mapping[str, str]) -> str:
    return f"{request.path}?{urlencode(state)}" if state else request.path


def _cursor(row: Model, name: str) -> str:
    place = json.dumps([str(getattr(row, name)), str(row.pk)])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _after(model: type[Model], name: str, is_down: bool, cursor: str) -> Q:
    """The rows behind a cursor; one that was not given out is the first page."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        value, pk = json.loads(base64.urlsafe_b64decode(padded))
        fields = {each.name: each for each in model._meta.concrete_fields}
        fields |= {each.attname: each for each in model._meta.concrete_fields}
        value, pk = fields[name].to_python(value), model._meta.pk.to_python(pk)
    except (ValueError, TypeError, binascii.Error, ValidationError):
        return Q()
    side = "lt" if is_down else "gt"
    return Q(**{f"{name}__{side}": value}) | Q(**{name: value, f"pk__{side}": pk})
