"""Many rows in one statement, for the hot paths: columns go to the database as arrays.

Django's own bulk_update builds one CASE per row and field, which costs a hundred times as much as
the update itself. These two take model instances all the same, so callers read alike.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
from django.db import connections, models, router


@cache
def _columns(model: type[models.Model], names: tuple[str, ...]) -> tuple["_Column", ...]:
    return tuple(_Column(model._meta.get_field(name)) for name in names)  # type: ignore[arg-type]


class _Column:
    """One column: where its value stands in an instance, and what the database calls its type."""

    def __init__(self, field: "models.Field[Any, Any]") -> None:
        self.attribute = field.attname
        self.name = f'"{field.column}"'
        self.is_json = isinstance(field, models.JSONField)
        self.is_array = "[]" in (field.db_type(connections["default"]) or "")
        self.type = field.db_type(connections["default"])
        # Arrays of arrays must be rectangular, so an array travels as its text.
        self.cast = "text[]" if self.is_array else f"{self.type}[]"

    @property
    def selected(self) -> str:
        return f"v.{self.name}::{self.type}" if self.is_array else f"v.{self.name}"

    def values(self, rows: Sequence[models.Model]) -> list[Any]:
        values = [getattr(row, self.attribute) for row in rows]
        if self.is_json:
            return [
                None if value is None else msgspec.json.encode(value).decode() for value in values
            ]
        if self.is_array:
            return ["{" + ",".join(str(item) for item in value) + "}" for value in values]
        return values


def insert(rows: Iterable[models.Model], *, on_conflict: str = "") -> None:
    """Insert instances of one model, every column as it stands in them.

    A column whose value is the database's own to give (``db_default``) is left to it where the
    first instance has none.

    Args:
        on_conflict: what follows ON CONFLICT, empty to let a conflict raise.
    """
    batch = list(rows)
    if not batch:
        return
    model = type(batch[0])
    names = tuple(
        field.name
        for field in model._meta.concrete_fields
        if not _left_to_the_database(batch[0], field)
    )
    columns = _columns(model, names)
    listed = ", ".join(column.name for column in columns)
    conflict = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    _execute(
        model,
        f'INSERT INTO "{model._meta.db_table}" ({listed})'  # noqa: S608 (our own names)
        f" SELECT {', '.join(column.selected for column in columns)}"
        f" FROM unnest({_placeholders(columns)}) AS v ({listed}){conflict}",
        columns,
        batch,
    )


def update(rows: Iterable[models.Model], names: Sequence[str]) -> None:
    """Write these fields of instances of one model, found by their primary key."""
    batch = list(rows)
    if not batch:
        return
    model = type(batch[0])
    key = model._meta.pk
    columns = _columns(model, (key.name, *names))
    sets = ", ".join(f"{column.name} = {column.selected}" for column in columns[1:])
    _execute(
        model,
        f'UPDATE "{model._meta.db_table}" AS t SET {sets}'  # noqa: S608 (our own names)
        f" FROM unnest({_placeholders(columns)})"
        f" AS v ({', '.join(column.name for column in columns)})"
        f" WHERE t.{columns[0].name} = v.{columns[0].name}",
        columns,
        batch,
    )


def _left_to_the_database(row: models.Model, field: "models.Field[Any, Any]") -> bool:
    value = getattr(row, field.attname)
    return field.has_db_default() and not isinstance(value, str | int | float | bytes)


def _placeholders(columns: Sequence[_Column]) -> str:
    return ", ".join(f"%s::{column.cast}" for column in columns)


def _execute(
    model: type[models.Model], statement: str, columns: Sequence[_Column], rows: Sequence[Any]
) -> None:
    alias = router.db_for_write(model)
    with connections[alias].cursor() as cursor:
        cursor.execute(statement, [column.values(rows) for column in columns])
