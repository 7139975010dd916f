"""What BigQuery is asked before a job is started: the columns of a table or query, and its newest value."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from beam_mixpanel.errors import UsageError

_TIMEOUT_SECS: Final = 60
_QUERY_TIMEOUT_SECS: Final = 600


class BigQueryColumns(NamedTuple):
    """What there is to map.

    Attributes:
      names: in order.
      json_columns: those of type JSON, which an export gives as text.
    """

    names: tuple[str, ...]
    json_columns: tuple[str, ...]


def columns_of(
    *,
    table: str | None = None,
    query: str | None = None,
    project: str | None = None,
    connect: Callable[..., Any] | None = None,
) -> BigQueryColumns:
    """Return the columns of a table, or of a query, which is checked but not run and costs nothing.

    Args:
      table: `PROJECT.DATASET.TABLE`, `PROJECT:DATASET.TABLE`, or `DATASET.TABLE` in the project.
      query: GoogleSQL instead of a table.
      project: that pays.
      connect: makes a client of Google's for a project; None for its own way, with the default credentials.

    Raises:
      UsageError: the table does not exist, the query is wrong, the account lacks the right, or BigQuery cannot be
        reached; the message is BigQuery's.
    """
    with _asking(project, connect) as client:
        schema = _table_schema(client, table) if table else _query_schema(client, query or "")
    json_columns = tuple(field.name for field in schema if field.field_type == "JSON" and field.mode != "REPEATED")
    return BigQueryColumns(tuple(field.name for field in schema), json_columns)


def newest_of(query: str, *, project: str | None = None, connect: Callable[..., Any] | None = None) -> Any:
    """Run a query of one value, and return it.

    Args:
      query: GoogleSQL.
      project: that pays.
      connect: as for `columns_of`.

    Raises:
      UsageError: as for `columns_of`.
    """
    with _asking(project, connect) as client:
        ((value,),) = client.query_and_wait(query, wait_timeout=_QUERY_TIMEOUT_SECS)
    return value


@contextlib.contextmanager
def _asking(project: str | None, connect: Callable[..., Any] | None) -> Iterator[Any]:
    """Yield a client of Google's, and turn its refusals into usage errors with BigQuery's words."""
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
        from google.cloud import bigquery
    except ImportError:
        raise UsageError("BigQuery needs Google's clients: pip install 'beam-mixpanel[gcp]'") from None
    try:
        yield (connect or bigquery.Client)(project=project)
    except DefaultCredentialsError:
        raise UsageError("no Google credentials: run gcloud auth application-default login") from None
    except (GoogleAPIError, GoogleAuthError, OSError, ValueError) as error:
        raise UsageError(f"BigQuery: {getattr(error, 'message', None) or error}") from None


def _table_schema(client: Any, table: str) -> Any:
    from google.cloud import bigquery

    name = table.replace(":", ".", 1).partition("$")[0]
    reference = bigquery.TableReference.from_string(name, default_project=client.project)
    return client.get_table(reference, **_patience()).schema


def _query_schema(client: Any, query: str) -> Any:
    from google.cloud import bigquery

    return client.query(query, job_config=bigquery.QueryJobConfig(dry_run=True), **_patience()).schema or ()


def _patience() -> dict[str, Any]:
    """Bound the wait, which would be ten minutes where there is no network."""
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return {"retry": DEFAULT_RETRY.with_timeout(_TIMEOUT_SECS), "timeout": _TIMEOUT_SECS}
