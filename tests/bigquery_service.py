"""Servers that answer Google's own clients as BigQuery does: the Storage API, and what a job asks before it starts."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pyarrow as pa
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient, types
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

_Client = bigquery.Client
"""Before a test puts another in its place."""


class StorageServer:
    """Serves one table in streams, as the service does: the schema first, batches compressed, offsets kept.

    Attributes:
      streams: the batches of each.
      breaks: streams whose connection is lost once after the first batch.
      sessions: the requests for sessions, in order.
      reads: stream and offset of each request to read.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.streams: dict[str, list[list[dict[str, Any]]]] = {}
        self.breaks: set[str] = set()
        self.sessions: list[types.CreateReadSessionRequest] = []
        self.reads: list[tuple[str, int]] = []
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        handlers = {
            "CreateReadSession": grpc.unary_unary_rpc_method_handler(
                self._create_session, types.CreateReadSessionRequest.deserialize, types.ReadSession.serialize
            ),
            "ReadRows": grpc.unary_stream_rpc_method_handler(
                self._read_rows, types.ReadRowsRequest.deserialize, types.ReadRowsResponse.serialize
            ),
        }
        service = "google.cloud.bigquery.storage.v1.BigQueryRead"
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = self._grpc.add_insecure_port("localhost:0")

    def __enter__(self) -> StorageServer:
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait()

    def client(self) -> BigQueryReadClient:
        """Google's client, connected to this server."""
        channel = grpc.insecure_channel(f"localhost:{self.port}")
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))

    def _create_session(self, request: Any, _: grpc.ServicerContext) -> types.ReadSession:
        self.sessions.append(request)
        return types.ReadSession(name="s", streams=[types.ReadStream(name=name) for name in self.streams])

    def _read_rows(self, request: Any, context: grpc.ServicerContext) -> Iterator[types.ReadRowsResponse]:
        self.reads.append((request.read_stream, request.offset))
        schema = types.ArrowSchema(serialized_schema=self.schema.serialize().to_pybytes())
        place = 0
        for rows in self.streams[request.read_stream]:
            if place >= request.offset:
                encoded = types.ArrowRecordBatch(serialized_record_batch=_encoded(rows, self.schema))
                response = types.ReadRowsResponse(arrow_record_batch=encoded, row_count=len(rows))
                if schema is not None:
                    response.arrow_schema, schema = schema, None
                yield response
                if request.read_stream in self.breaks:
                    self.breaks.discard(request.read_stream)
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is lost")
            place += len(rows)


def _encoded(rows: list[dict[str, Any]], schema: pa.Schema) -> bytes:
    """Write a batch as the service does when it is asked for LZ4: without its schema, buffers compressed."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
    messages = pa.ipc.MessageReader.open_stream(stream.getvalue())
    messages.read_next_message()
    encoded: bytes = messages.read_next_message().serialize().to_pybytes()
    return encoded


class JobServer:
    """Answers what is asked of tables and queries before a job: columns, and one value for each query.

    Attributes:
      fields: the columns of every table and query.
      answers: the values of the queries to come, as BigQuery writes them.
      queries: what was asked, in order.
    """

    def __init__(self, fields: list[dict[str, str]]) -> None:
        self.fields = fields
        self.answers: list[str | None] = []
        self.queries: list[str] = []
        self._server = ThreadingHTTPServer(("localhost", 0), functools.partial(_JobHandler, self))
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> JobServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def client(self, project: str | None = None) -> bigquery.Client:
        """Google's client, connected to this server."""
        options = {"api_endpoint": f"http://localhost:{self._server.server_port}"}
        return _Client(project, AnonymousCredentials(), client_options=options)

    def table(self) -> dict[str, Any]:
        """Describe a table."""
        return {
            "tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"},
            "schema": {"fields": self.fields},
        }

    def answer(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a query, or tell the columns of one that is not to be run."""
        if path.partition("?")[0].endswith("/queries"):
            self.queries.append(request["query"])
            column = self.fields[1] | {"name": "newest"}
            rows = [{"f": [{"v": self.answers.pop(0)}]}]
            return {"jobComplete": True, "schema": {"fields": [column]}, "rows": rows, "totalRows": "1"}
        asked = request["configuration"]
        assert asked["dryRun"]
        statistics = {"query": {"schema": {"fields": self.fields}}}
        answer = {"jobReference": request["jobReference"], "status": {"state": "DONE"}, "statistics": statistics}
        return {**answer, "configuration": asked}


class _JobHandler(BaseHTTPRequestHandler):
    def __init__(self, service: JobServer, *arguments: Any) -> None:
        self._service = service
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer(self._service.table())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(self._service.answer(self.path, request))

    def _answer(self, body: dict[str, Any]) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""
