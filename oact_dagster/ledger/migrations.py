"""Bringing the tables of a file up to date: a new file, an older version of ours, or a foreign file."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from oact_dagster.errors import LedgerError
from oact_dagster.ledger.failures import adopt_failures
from oact_dagster.ledger.schema import MIGRATIONS, SCHEMA_VERSION, STRUCTURES_NEEDED, TABLES, TRIGGERS
from oact_dagster.ledger.writer import refuse_second_host

BATCH_OF_MIGRATED = "migrated"
"""Batch of attempts that represent failures from before a foreign file became a ledger."""


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
) -> None:
    """Bring the tables to the present version, in one transaction that changes all or nothing.

    Each failed or timed-out structure without an attempt gets a closed one, which its next reset or claim counts.

    Raises:
        LedgerError: the file is newer than this program, or not a ledger.
    """
    if version_of(connection, path) == SCHEMA_VERSION:
        return
    with transaction() as db:
        # Checked again under the lock: another process may just have done it.
        version = version_of(db, path)
        if version == SCHEMA_VERSION:
            return
        refuse_second_host(db, path)
        if version == 0 and tables_of(db):
            for name, declaration in missing_columns(db, "structures"):
                db.execute(f"ALTER TABLE structures ADD COLUMN {name} {declaration}")
        db.create_function("oact_engine", 1, _engine, deterministic=True)
        for old in range(version or SCHEMA_VERSION, SCHEMA_VERSION):
            for statement in MIGRATIONS[old]:
                db.execute(statement)
        # Not executescript(), which would commit the transaction.
        for statement in TABLES.split(";"):
            if statement.strip():
                db.execute(statement)
        for statement in TRIGGERS:
            db.execute(statement)
        adopt_failures(db, BATCH_OF_MIGRATED)
        db.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),)
        )


def version_of(connection: sqlite3.Connection, path: Path) -> int:
    """Version of a file's tables; 0 for a foreign or an empty file.

    Raises:
        LedgerError: the file is newer than this program, or not a ledger.
    """
    tables = tables_of(connection)
    if tables and "structures" not in tables:
        shown = ", ".join(sorted(tables)[:5])
        raise LedgerError(
            f"{path}: cannot be used as a ledger: it is some other SQLite file (its tables: {shown}; a ledger has"
            " structures)"
        )
    if "meta" in tables:
        row = connection.execute("SELECT value FROM main.meta WHERE key = 'schema_version'").fetchone()
        text = "0" if row is None else str(row[0])
        if not text.isascii() or not text.isdecimal():
            raise LedgerError(
                f"{path}: cannot be used as a ledger: its schema version is {text[:40]!r}, but should be a number up"
                f" to {SCHEMA_VERSION}"
            )
        version = int(text)
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"{path}: its schema version is {version}, but this program supports versions up to {SCHEMA_VERSION}: "
                "use a newer oact_dagster"
            )
        return version
    if tables and (lacking := sorted(set(STRUCTURES_NEEDED) - columns_of(connection, "structures"))):
        raise LedgerError(
            f"{path}: cannot be used as a ledger: its table structures lacks {', '.join(lacking)}"
        )
    return 0


def tables_of(connection: sqlite3.Connection) -> set[str]:
    """Names of the file's tables."""
    rows = connection.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {str(row[0]) for row in rows}


def columns_of(connection: sqlite3.Connection, table: str) -> set[str]:
    """Names of a table's columns."""
    return {str(row["name"]) for row in connection.execute(f"PRAGMA main.table_info({table})")}


def missing_columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    """Name and declaration of each column that the present version has and the file's table lacks."""
    there = columns_of(connection, table)
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(TABLES)
        described = model.execute(f"PRAGMA table_info({table})").fetchall()
    missing = []
    for _, name, kind, not_null, default, _ in described:
        if name in there:
            continue
        # SQLite allows only constant defaults here, and an unknown creation time must not become the present.
        constant = default is not None and default != "CURRENT_TIMESTAMP"
        declaration = f"{kind}{' NOT NULL' if not_null and constant else ''}"
        missing.append((str(name), declaration + (f" DEFAULT {default}" if constant else "")))
    return missing


def _engine(result: str | None) -> str | None:
    """The engine that a stored result names."""
    try:
        engine = json.loads(result or "{}").get("engine")
    except (ValueError, AttributeError):
        return None
    return None if engine is None else str(engine)
