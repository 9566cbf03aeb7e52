"""The bar store: closed bars as columns in memory-mapped files.

    BAR_STORE/<instrument>/<interval_s>/manifest.json   how many rows of which files count
                                        <column>.<generation>.raw   8 bytes a row, little endian
                                        lock                        held by the one who writes

A row exists when the manifest counts it. An append writes behind the counted rows, syncs, and
renames a new manifest into place; until then, and if it dies before, nobody sees what it wrote.
Anything but an append writes a new generation of files beside the old ones.
"""

import fcntl
import mmap
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from apps.core.errors import DomainError
from ml.bars import Bars

COLUMNS = ("time", "open", "high", "low", "close", "volume")
ROW_BYTES = 8
# A rewrite may replace the files between a reader's two steps, but not this often in a row.
ATTEMPTS = 20


class StoreDamaged(DomainError):
    """Files of the bar store do not hold what their manifest says."""

    code = "bar_store_damaged"


class Manifest(msgspec.Struct, frozen=True):
    """What counts.

    Attributes:
        checksums: CRC-32 of each column's counted bytes.
    """

    rows: int = 0
    generation: int = 0
    checksums: tuple[int, ...] = (0,) * len(COLUMNS)


@dataclass(frozen=True)
class Held:
    """What is stored of one instrument and interval; ``first`` and ``last`` are opens, ns UTC."""

    instrument_id: UUID
    interval_s: int
    rows: int
    first: int
    last: int


@dataclass(frozen=True)
class Merged:
    """What became of bars that were given to be stored; the three add up to them.

    Attributes:
        stored: new ones, and those that replaced another.
        repeated: they were there already, exactly so.
        refused: row numbers whose time is held with other values.
    """

    stored: int
    repeated: int
    refused: tuple[int, ...]


def read(
    instrument_id: UUID,
    interval_s: int,
    *,
    start: int | None = None,
    end: int | None = None,
    last: int | None = None,
) -> Bars:
    """Stored bars, oldest first, without copying them.

    Args:
        start: earliest open, ns UTC.
        end: first open that is too late, ns UTC.
        last: at most so many, the newest.
    """
    columns = _columns(_folder(instrument_id, interval_s))
    time = columns[0]
    first_row = 0 if start is None else int(np.searchsorted(time, start))
    end_row = time.size if end is None else int(np.searchsorted(time, end))
    if last is not None:
        first_row = max(first_row, end_row - last)
    return Bars(*(column[first_row:end_row] for column in columns))


def merge(*, instrument_id: UUID, interval_s: int, bars: Bars, replace: bool = False) -> Merged:
    """Store bars durably: they are on the disk when this returns.

    Bars behind the stored ones are appended; others cost a rewrite of the whole folder.

    Args:
        replace: a bar held with other values is overwritten rather than refused.
    """
    folder = _folder(instrument_id, interval_s)
    if len(bars) == 0:
        return Merged(0, 0, ())
    folder.mkdir(parents=True, exist_ok=True)
    with _sole_writer(folder):
        manifest = _manifest(folder)
        held = _map(folder, manifest)
        if manifest.rows == 0 or bars.time[0] > held[0][-1]:
            _append(folder, manifest, _raw(bars))
            return Merged(len(bars), 0, ())
        known, same = _compare(held, bars)
        conflicting = known & ~same
        wanted = ~known | conflicting if replace else ~known
        if wanted.any():
            _rewrite(folder, manifest, _joined(held, bars, wanted))
        refused = () if replace else tuple(int(row) for row in np.flatnonzero(conflicting))
        return Merged(int(wanted.sum()), int((known & same).sum()), refused)


def held(instrument_id: UUID, interval_s: int) -> Held | None:
    """What is stored of one instrument and interval, or None."""
    time = _columns(_folder(instrument_id, interval_s))[0]
    if time.size == 0:
        return None
    return Held(instrument_id, interval_s, time.size, int(time[0]), int(time[-1]))


def intervals(instrument_id: UUID) -> list[int]:
    """The intervals of which something is stored, seconds, shortest first."""
    folder = Path(settings.BAR_STORE) / str(instrument_id)
    if not folder.is_dir():
        return []
    return sorted(int(inside.parent.name) for inside in folder.glob("*/manifest.json"))


def contents() -> Iterator[Held]:
    """Everything that is stored."""
    for folder in sorted(Path(settings.BAR_STORE).glob("*-*-*-*-*")):
        for interval_s in intervals(UUID(folder.name)):
            if (found := held(UUID(folder.name), interval_s)) is not None:
                yield found


def verify(instrument_id: UUID, interval_s: int) -> None:
    """Read everything that counts and compare it with its checksums.

    Raises:
        StoreDamaged: a column is not what was written.
    """
    folder = _folder(instrument_id, interval_s)
    with _sole_writer(folder):
        manifest = _manifest(folder)
        for name, column, checksum in zip(
            COLUMNS, _map(folder, manifest), manifest.checksums, strict=True
        ):
            if zlib.crc32(column.tobytes()) != checksum:
                raise StoreDamaged(f"{folder}: {name} is not what was written")


def _folder(instrument_id: UUID, interval_s: int) -> Path:
    return Path(settings.BAR_STORE) / str(instrument_id) / str(int(interval_s))


def _file(folder: Path, name: str, generation: int) -> Path:
    return folder / f"{name}.{generation}.raw"


def _manifest(folder: Path) -> Manifest:
    try:
        written = (folder / "manifest.json").read_bytes()
    except FileNotFoundError:
        return Manifest()
    return msgspec.json.decode(written, type=Manifest)


def _columns(folder: Path) -> tuple[NDArray[Any], ...]:
    for _ in range(ATTEMPTS):
        try:
            return _map(folder, _manifest(folder))
        except FileNotFoundError:
            # Between the manifest and its files a rewrite put newer ones in place: look again.
            continue
    raise StoreDamaged(f"{folder}: the manifest names files that do not exist")


def _map(folder: Path, manifest: Manifest) -> tuple[NDArray[Any], ...]:
    return tuple(
        _map_column(_file(folder, name, manifest.generation), name, manifest.rows)
        for name in COLUMNS
    )


def _map_column(path: Path, name: str, rows: int) -> NDArray[Any]:
    dtype = np.dtype("<i8" if name == "time" else "<f8")
    if rows == 0:
        return np.empty(0, dtype)
    with path.open("rb") as file:
        # Only what counts is mapped: an append may cut off a torn rest behind it at any time.
        try:
            pages = mmap.mmap(file.fileno(), rows * ROW_BYTES, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise StoreDamaged(f"{path} holds fewer than {rows} rows") from error
    return np.frombuffer(pages, dtype)


def _raw(bars: Bars) -> list[bytes]:
    return [np.ascontiguousarray(getattr(bars, name)).tobytes() for name in COLUMNS]


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _append(folder: Path, manifest: Manifest, columns: list[bytes]) -> None:
    for name, column in zip(COLUMNS, columns, strict=True):
        _write_behind(_file(folder, name, manifest.generation), manifest.rows, column)
    checksums = tuple(
        zlib.crc32(column, before)
        for column, before in zip(columns, manifest.checksums, strict=True)
    )
    rows = manifest.rows + len(columns[0]) // ROW_BYTES
    _commit(folder, Manifest(rows, manifest.generation, checksums))


def _rewrite(folder: Path, manifest: Manifest, columns: list[bytes]) -> None:
    _append(folder, Manifest(generation=manifest.generation + 1), columns)
    for name in COLUMNS:
        # Who has them mapped keeps them until he is done.
        _file(folder, name, manifest.generation).unlink(missing_ok=True)


def _write_behind(path: Path, rows: int, column: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.truncate(rows * ROW_BYTES)
        file.seek(rows * ROW_BYTES)
        file.write(column)
        file.flush()
        os.fsync(file.fileno())


def _commit(folder: Path, manifest: Manifest) -> None:
    draft = folder / "manifest.json.new"
    with draft.open("wb") as file:
        file.write(msgspec.json.encode(manifest))
        file.flush()
        os.fsync(file.fileno())
    # The files' own names first, then the name that makes them count.
    _sync_folder(folder)
    draft.replace(folder / "manifest.json")
    for level in (folder, folder.parent, folder.parent.parent):
        _sync_folder(level)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _compare(
    held: tuple[NDArray[Any], ...], bars: Bars
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    # Which of the bars have a stored one of their time, and which of those are equal to it.
    place = np.minimum(np.searchsorted(held[0], bars.time), held[0].size - 1)
    known = held[0][place] == bars.time
    same = np.ones(len(bars), np.bool_)
    for name, column in zip(COLUMNS, held, strict=True):
        same &= column[place] == getattr(bars, name)
    return known, same


def _joined(held: tuple[NDArray[Any], ...], bars: Bars, wanted: NDArray[np.bool_]) -> list[bytes]:
    kept = ~np.isin(held[0], bars.time[wanted])
    time = np.concatenate([held[0][kept], bars.time[wanted]])
    order = np.argsort(time, kind="stable")
    return [
        np.concatenate([column[kept], getattr(bars, name)[wanted]])[order].tobytes()
        for name, column in zip(COLUMNS, held, strict=True)
    ]
