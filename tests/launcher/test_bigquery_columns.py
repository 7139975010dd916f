"""The columns of a table or query, asked of a server that answers as BigQuery's API does, by Google's own client."""

from __future__ import annotations

import functools
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from beam_mixpanel.errors import UsageError

pytest.importorskip("google.cloud.bigquery", reason="needs the extra gcp")

from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import bigquery

from beam_mixpanel.launcher.bigquery_columns import BigQueryColumns, columns_of

FIELDS = [
    {"name": "event", "type": "STRING"},
    {"name": "details", "type": "JSON"},
    {"name": "list", "type": "JSON", "mode": "REPEATED"},
]
COLUMNS = BigQueryColumns(("event", "details", "list"), ("details",))


class _Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/bigquery/v2/projects/data/datasets/d/tables/t?"):
            self._answer(200, {"tableReference": _reference("data"), "schema": {"fields": FIELDS}})
        else:
            self._answer(404, {"error": {"code": 404, "message": "Not found: Table data:d.none"}})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = request["configuration"]
        if not asked.get("dryRun"):
            self._answer(500, {"error": {"message": "the query would be run"}})
        elif asked["query"]["query"] != "SELECT * FROM d.t" or asked["query"]["useLegacySql"]:
            self._answer(400, {"error": {"code": 400, "message": "Syntax error: Unexpected end of script at [1:1]"}})
        else:
            statistics = {"query": {"schema": {"fields": FIELDS}}}
            answer = {"jobReference": request["jobReference"], "status": {"state": "DONE"}, "statistics": statistics}
            self._answer(200, {**answer, "configuration": asked})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


def _reference(project: str) -> dict[str, str]:
    return {"projectId": project, "datasetId": "d", "tableId": "t"}


@pytest.fixture(scope="module")
def connect() -> Iterator[functools.partial[bigquery.Client]]:
    """Makes clients that ask the server."""
    with ThreadingHTTPServer(("localhost", 0), _Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        options = {"api_endpoint": f"http://localhost:{server.server_port}"}
        yield functools.partial(bigquery.Client, credentials=AnonymousCredentials(), client_options=options)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("table", ["data.d.t", "data:d.t", "d.t", "data.d.t$20260504"])
def test_the_columns_of_a_table(connect: Any, table: str) -> None:
    """However the table is named, its columns are told in order, and which of them hold JSON."""
    assert columns_of(table=table, project="data", connect=connect) == COLUMNS


def test_the_columns_of_a_query(connect: Any) -> None:
    """A query is checked by BigQuery, but not run."""
    assert columns_of(query="SELECT * FROM d.t", project="payer", connect=connect) == COLUMNS


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"table": "data.d.none"}, "BigQuery: .*Not found: Table data:d.none"),
        ({"query": "SELECT"}, "BigQuery: .*Syntax error: Unexpected end of script"),
        ({"table": "just_a_name"}, "BigQuery: .*table_id"),
    ],
)
def test_what_bigquery_refuses_is_a_usage_error(connect: Any, what: dict[str, str], message: str) -> None:
    """The error says what BigQuery says."""
    with pytest.raises(UsageError, match=message):
        columns_of(**what, project="payer", connect=connect)


def test_missing_credentials_name_the_cure() -> None:
    """Without credentials the error says how to get some."""

    def connect(**_: object) -> bigquery.Client:
        raise DefaultCredentialsError("a page of advice")

    with pytest.raises(UsageError, match="gcloud auth application-default login"):
        columns_of(table="data.d.t", connect=connect)


def test_without_the_extra_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Google's clients are not installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, "google.auth.exceptions", None)
    with pytest.raises(UsageError, match=r"pip install 'beam-mixpanel\[gcp\]'"):
        columns_of(table="data.d.t")
