"""Real databases: a private PostgreSQL, and files of SQLite and DuckDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.private_postgres import PostgresMissingError, PrivatePostgres

URL_VARIABLE = "TEST_DATABASE_URL"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL server of the session's own."""
    try:
        server = PrivatePostgres()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def postgres_reference(postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """A reference to its URL."""
    monkeypatch.setenv(URL_VARIABLE, postgres.url)
    return f"env:{URL_VARIABLE}"
