"""Many rows in one statement, for the hot paths: they travel as one JSON document.

Django's own bulk_update builds a CASE for each row and field, and costs a hundred times what the
update itself does. These two take model instances all the same, so callers read alike.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
from django.db import connections, models, router


class NotPlain(TypeError):
    """The model has a column of bytes, which JSON cannot carry: use Django's own bulk_create."""


def insert(rows: Iterable[models.Model], *, on_conflict: str = "") -> None:
    """Insert instances of one model, every column as it stands in them.

    Columns that the database gives a value to (``db_default``) are left to it where the first
    instance has none.

    Args:
        on_conflict: what follows ON CONFLICT, empty to let a conflict raise.

    Raises:
        NotPlain: the model has a binary column.
    """
    batch = list(rows)
    if not batch:
        return
    model = type(batch[0])
    fields = model._meta.concrete_fields
    left = {field.name for field in fields if _is_left_to_the_database(batch[0], field)}
    columns = _columns(model, tuple(field.name for field in fields if field.name not in left))
    listed = ", ".join(f'"{name}"' for name in columns)
    conflict = f" ON CONFLICT {on_conflict}" if on_conflict else ""
    _execute(
        f'INSERT INTO "{model._meta.db_table}" ({listed})'  # noqa: S608 (our own names)
        f" SELECT {listed} FROM {_recordset(columns)}{conflict}",
        batch,
        columns,
    )


def update(rows: Iterable[models.Model], names: Sequence[str]) -> None:
    """Write these fields of instances of one model, found by their primary key.

    Raises:
        NotPlain: one of the fields is binary.
    """
    batch = list(rows)
    if not batch:
        return
    model = type(batch[0])
    key = model._meta.pk.column
    columns = _columns(model, (model._meta.pk.name, *names))
    sets = ", ".join(f'"{name}" = v."{name}"' for name in list(columns)[1:])
    _execute(
        f'UPDATE "{model._meta.db_table}" AS t SET {sets}'  # noqa: S608 (our own names)
        f' FROM {_recordset(columns)} WHERE t."{key}" = v."{key}"',
        batch,
        columns,
    )


@cache
def _columns(model: type[models.Model], names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """By column: the attribute that holds its value, and the database's type."""
    fields = [model._meta.get_field(name) for name in names]
    for field in fields:
        if isinstance(field, models.BinaryField):
            raise NotPlain(f"{model.__name__}.{field.name} holds bytes")
    return {
        str(field.column): (field.attname, str(field.db_type(connections["default"])))
        for field in fields
        if isinstance(field, models.Field)
    }


def _recordset(columns: dict[str, tuple[str, str]]) -> str:
    typed = ", ".join(f'"{name}" {kind}' for name, (_, kind) in columns.items())
    return f"json_to_recordset(%s::json) AS v ({typed})"


def _is_left_to_the_database(row: models.Model, field: "models.Field[Any, Any]") -> bool:
    value = getattr(row, field.attname)
    return field.has_db_default() and not isinstance(value, str | int | float)


def _execute(
    statement: str, rows: Sequence[models.Model], columns: dict[str, tuple[str, str]]
) -> None:
    sources = [(name, attribute) for name, (attribute, _) in columns.items()]
    document = msgspec.json.encode(
        [{name: getattr(row, attribute) for name, attribute in sources} for row in rows]
    )
    with connections[router.db_for_write(type(rows[0]))].cursor() as cursor:
        cursor.execute(statement, [document.decode()])
