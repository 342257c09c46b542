"""Bringing the tables of a file up to date: of a new file, of an older version of ours, of one that others made."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from oact_dagster.ledger.connection import LedgerError
from oact_dagster.ledger.failures import adopt_failures
from oact_dagster.ledger.schema import MIGRATIONS, SCHEMA_VERSION, STRUCTURES_NEEDED, TABLES, TRIGGERS
from oact_dagster.ledger.writer import refuse_second_host

BATCH_OF_MIGRATED = "migrated"
"""The batch of attempts that stand for what had failed before the file was ours."""


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
) -> None:
    """Make what is missing, in one transaction: afterwards the file is of this version, or as it was.

    A structure that is failed or timed out gets one closed attempt, which is not counted yet: its next reset or claim
    counts it. Rows are not read into memory.

    Args:
        connection: to the file.
        path: of the file, for messages.
        transaction: begins one.

    Raises:
        LedgerError: it is newer than this program, or no ledger.
    """
    if version_of(connection, path) == SCHEMA_VERSION:
        return
    with transaction() as db:
        # Looked at again under the lock: another process may have just done it.
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
        # Not executescript(): that would commit the transaction it stands in.
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
    """Version of the tables that a file has; 0 for one that others made, or that is empty.

    Raises:
        LedgerError: it is newer than this program, or no ledger.
    """
    tables = tables_of(connection)
    if tables and "structures" not in tables:
        shown = ", ".join(sorted(tables)[:5])
        raise LedgerError(
            f"{path}: cannot be used as a ledger: it is an SQLite file of something else (its tables: {shown}; a"
            " ledger has structures)"
        )
    if "meta" in tables:
        row = connection.execute("SELECT value FROM main.meta WHERE key = 'schema_version'").fetchone()
        text = "0" if row is None else str(row[0])
        if not text.isascii() or not text.isdecimal():
            raise LedgerError(
                f"{path}: cannot be used as a ledger: the version of its tables is {text[:40]!r}, and should be a"
                f" number up to {SCHEMA_VERSION}"
            )
        version = int(text)
        if version > SCHEMA_VERSION:
            raise LedgerError(
                f"{path}: its tables are of version {version}, and this program knows up to {SCHEMA_VERSION}: "
                "use a newer oact_dagster"
            )
        return version
    if tables:
        lacking = sorted(set(STRUCTURES_NEEDED) - columns_of(connection, "structures"))
        if lacking:
            raise LedgerError(
                f"{path}: cannot be used as a ledger: its table structures lacks {', '.join(lacking)}"
            )
    return 0


def tables_of(connection: sqlite3.Connection) -> set[str]:
    """Names of the tables in the file."""
    rows = connection.execute(
        "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {str(row[0]) for row in rows}


def columns_of(connection: sqlite3.Connection, table: str) -> set[str]:
    """Names of a table's columns in the file."""
    return {str(row["name"]) for row in connection.execute(f"PRAGMA main.table_info({table})")}


def missing_columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    """Name and declaration of each column that a table of this version has and the file's has not."""
    there = columns_of(connection, table)
    model = sqlite3.connect(":memory:")
    try:
        model.executescript(TABLES)
        described = model.execute(f"PRAGMA table_info({table})").fetchall()
    finally:
        model.close()
    missing = []
    for _, name, kind, not_null, default, _ in described:
        if name in there:
            continue
        # A time of creation that nobody noted is not now: SQLite takes only constants here.
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
