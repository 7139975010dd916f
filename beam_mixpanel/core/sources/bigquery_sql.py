"""What is said to BigQuery in SQL: which rows of a table or query are new."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from beam_mixpanel.core.sources.increments import Mark


class Source(NamedTuple):
    """A table or a query; one of them is given.

    Attributes:
      table: `PROJECT.DATASET.TABLE`, `PROJECT:DATASET.TABLE` or `DATASET.TABLE`.
      query: GoogleSQL.
    """

    table: str | None = None
    query: str | None = None

    @property
    def name(self) -> str:
        """What is read, for people and states: the table's name, or `query`."""
        if not self.table:
            return "query"
        return self.table.replace(":", ".", 1)

    def database(self, project: str | None) -> str:
        """Name the project that holds the table, or against which a query is resolved, for states.

        Args:
          project: the one that pays.
        """
        own = ""
        if self.table:
            own = ".".join(self.name.split(".")[:-2])  # all before the dataset; a project's name may hold a dot
        return f"bigquery://{own or project or ''}"

    @property
    def is_partition(self) -> bool:
        """Tell whether it is a partition of a table, which SQL cannot name."""
        return "$" in (self.table or "")

    def select(self, what: str, conditions: Sequence[str] = ()) -> str:
        """Write a query of it."""
        if self.table:
            rows = f"`{self.name}`"
        else:
            # On lines of its own, since the query may end in a comment.
            rows = f"(\n{(self.query or '').rstrip().rstrip(';')}\n)"
        sql = f"SELECT {what} FROM {rows}"  # noqa: S608 - the user's own query, and literals quoted below
        if conditions:
            sql += f" WHERE {' AND '.join(conditions)}"
        return sql


def identifier(column: str) -> str:
    """Quote the name of a column."""
    return "`" + column.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(mark: Mark) -> str:
    """Write a value of a cursor column.

    Source: https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#literals
    """
    if isinstance(mark, datetime):
        kind = "DATETIME" if mark.tzinfo is None else "TIMESTAMP"
        return f"{kind} '{mark.isoformat(sep=' ')}'"
    if isinstance(mark, date):
        return f"DATE '{mark.isoformat()}'"
    if isinstance(mark, Decimal):
        return f"BIGNUMERIC '{mark}'"
    if isinstance(mark, int):
        return str(mark)
    return json.dumps(mark, ensure_ascii=False)  # GoogleSQL's texts have the escapes of JSON's
