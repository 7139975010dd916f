"""URLs that hold a password, and what is shown of them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from beam_mixpanel.databases.url import Connection, DatabaseUrl
from beam_mixpanel.errors import DatabaseError
from beam_mixpanel.secrets import SecretText

SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"host=localhost password={SECRET}",
        f"postgresql:/app:{SECRET}@host/db",
        f"postgresql://app:{SECRET} x@host/db",
        f"postgresql://app:a#{SECRET}@host/db",
        f"postgresql://app:a/{SECRET}@host/db",
        f"postgresql://app:a@{SECRET}@host/db",
        f"postgresql://app:a:{SECRET}@host/db",
        f"postgresql://app:{SECRET}%zz@host/db",
        f"postgresql://app:x@host:{SECRET}/db",
    ],
)
def test_what_a_driver_would_repeat_is_refused_before(text: str) -> None:
    """A URL whose password is not escaped is refused with the cure, and not repeated."""
    with pytest.raises(DatabaseError, match="%40") as refused:
        DatabaseUrl(SecretText(text))
    assert SECRET not in str(refused.value)


def test_nothing_shows_the_password() -> None:
    """Neither the representation nor a driver's message shows the password, escaped or not, nor other secrets."""
    url = DatabaseUrl(SecretText("postgresql://app:p%40ss-w0rd@host:5433/db?sslmode=require&sslpassword=k3y"))
    assert repr(url) == "DatabaseUrl('postgresql://host:5433/db')"
    message = url.scrub(f"cannot use {url.text}\n or p@ss-w0rd or p%40ss-w0rd or k3y")
    assert message == "cannot use postgresql://host:5433/db or *** or *** or ***"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"postgres://app:{SECRET}@DB.example.com/shop", "postgresql://db.example.com:5432/shop"),
        ("postgresql://other:x@db.example.com:5432/shop?sslmode=require&connect_timeout=9", None),
        (f"mysql+pymysql://app:{SECRET}@db/shop?charset=utf8mb4", "mysql://db:3306/shop"),
        (f"postgresql:///shop?password={SECRET}&host=/run/db", "postgresql://:5432/shop?host=%2Frun%2Fdb"),
        (f"snowflake://u:{SECRET}@account/sales/public?warehouse=w&token={SECRET}", "snowflake://account/sales/public"),
        ("duckdb:////data/../data/a.duckdb", "duckdb:////data/a.duckdb"),
    ],
)
def test_an_address_is_the_same_however_the_url_is_written(text: str, address: str | None) -> None:
    """It names server and database, without user, secrets, drivers and what may change; None for that of the first."""
    assert DatabaseUrl(SecretText(text)).address == (address or "postgresql://db.example.com:5432/shop")


def test_a_file_is_the_same_wherever_it_is_named_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name means another file in another folder."""
    monkeypatch.chdir(tmp_path)
    assert DatabaseUrl(SecretText("sqlite:///a.db")).address == f"sqlite:///{tmp_path.resolve()}/a.db"


def test_a_connection_holds_only_its_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pickled into a job is the reference; the URL is read where it is used."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://app:{SECRET}@host/db")
    connection = Connection("env:DATABASE_URL")
    assert SECRET.encode() not in pickle.dumps(connection)
    assert repr(connection) == "Connection('env:DATABASE_URL')"
    assert pickle.loads(pickle.dumps(connection)).url().place == "postgresql://host/db"


@pytest.mark.parametrize("text", ["sqlite:///a.db", "duckdb:////tmp/a.duckdb"])
def test_files_need_no_reference(text: str) -> None:
    """URLs that hold no password are taken as they are."""
    assert Connection(text).url().place == text


@pytest.mark.parametrize("text", [f"postgresql://app:{SECRET}@host/db", SECRET, "sqlite://a.db"])
def test_a_plain_url_is_refused(text: str) -> None:
    """A URL that may hold a password is no reference, and is not repeated."""
    with pytest.raises(ValueError, match="env:NAME") as refused:
        Connection(text)
    assert SECRET not in str(refused.value)
