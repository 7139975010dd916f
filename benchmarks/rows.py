"""`make bench-rows`: rows of files and of PostgreSQL as events, beside npm's mixpanel-import, in one run."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import fastavro
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.console import Console
from rich.table import Table

from benchmarks import events
from benchmarks.measure import Cost, CountingServer, counting_server, machine, median, run, run_program
from benchmarks.private_postgres import PostgresMissingError, PrivatePostgres

PEER: Final = "mixpanel-import@3.1.43"
FORMATS: Final = ("csv", "parquet", "avro", "json")
_CHUNK_ROWS: Final = 50_000
_PEER_READS: Final = ("csv", "parquet")
_SCRIPT: Final = Path(__file__).parent / "peers" / "mixpanel_import.js"
_TABLE: Final = "events"
_TOKEN: Final = {"MIXPANEL_BENCH_TOKEN": "token"}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure imports of rows.")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", nargs=2, metavar=("FORMAT", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        _write(arguments.write[0], arguments.write[1], arguments.count)
        return
    console = Console(width=100, highlight=False)
    console.print(f"{arguments.count:,} rows of 15 columns, median of {arguments.rounds} rounds, {machine()}\n")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ways = dict(_ways(Path(folder), arguments.count, stack, console))
        server = stack.enter_context(counting_server())
        costs: dict[str, list[Cost]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                costs[name].append(_counted(way, server, arguments.count, name))
        console.print(_table(costs, arguments.count))


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Make the events of `benchmarks.events` as rows without nested values."""
    for line in events.generate(count):
        event = json.loads(line)
        properties = event["properties"]
        del properties["tags"]
        yield {"event": event["event"], "insert_id": properties.pop("$insert_id"), **properties}


_Way = Callable[[str], Cost]
"""What is measured: a function of the server's address."""


def _ways(folder: Path, count: int, stack: contextlib.ExitStack, console: Console) -> Iterator[tuple[str, _Way]]:
    """Make the data; give what is measured."""
    peer = _install_peer(folder, console)
    for file_format in FORMATS:
        file = str(folder / f"rows.{file_format}")
        _make(file_format, file, count)
        yield file_format, partial(_pipeline, "files_to_mixpanel", folder, [f"--input={file}"])
        if peer and file_format in _PEER_READS:
            yield f"{file_format}, {PEER}", partial(_run_peer, peer, folder, file)
    try:
        postgres = stack.enter_context(PrivatePostgres())
    except PostgresMissingError as error:
        console.print(f"PostgreSQL is left out: {error}")
        return
    _make("postgresql", postgres.url, count)
    (folder / "database").write_text(postgres.url)
    source = [f"--connection=file:{folder}/database", f"--table={_TABLE}"]
    parts = ["--partition_column=order", "--partitions=4"]
    yield "PostgreSQL", partial(_pipeline, "sql_to_mixpanel", folder, source)
    workers = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    yield "PostgreSQL, 2 workers", partial(_pipeline, "sql_to_mixpanel", folder, [*source, *parts, *workers])


def _run_peer(node: str, folder: Path, file: str, url: str) -> Cost:
    options = {"NODE_OPTIONS": "--max-old-space-size=8192"}
    return run_program([node, _SCRIPT.name, file, url], environment=options, cwd=folder)


def _pipeline(name: str, folder: Path, more: Sequence[str], url: str) -> Cost:
    summary = folder / "summary.json"
    options = [f"--mixpanel_api_host={url}", "--mixpanel_project_token=env:MIXPANEL_BENCH_TOKEN"]
    cost = run(["-m", f"beam_mixpanel.pipelines.{name}", *options, f"--summary={summary}", *more], environment=_TOKEN)
    if not json.loads(summary.read_text())["balanced"]:
        raise RuntimeError(f"{name} {' '.join(more)}: the books do not balance")
    return cost


def _counted(way: _Way, server: CountingServer, count: int, name: str) -> Cost:
    before = server.counts()["events"]
    cost = way(server.url)
    arrived = server.counts()["events"] - before
    if arrived != count:
        raise RuntimeError(f"{name}: {arrived} events arrived, expected {count}")
    return cost


def _table(costs: dict[str, list[Cost]], count: int) -> Table:
    table = Table(title="Rows into Mixpanel", title_justify="left")
    table.add_column("")
    for column in ("events/s", "CPU s per M", "peak MB"):
        table.add_column(column, justify="right")
    for name, measured in costs.items():
        cost = median(measured)
        speed = f"{count / cost.seconds:,.0f}"
        table.add_row(name, speed, f"{cost.cpu_secs * 1e6 / count:.1f}", f"{cost.peak_mb:.0f}")
    return table


def _install_peer(folder: Path, console: Console) -> str | None:
    """Give Node.js, with the peer installed in the folder; None where there is no Node.js."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        console.print(f"{PEER} is left out: there is no Node.js")
        return None
    shutil.copy(_SCRIPT, folder)
    install = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--loglevel=error", PEER]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    return node


def _make(file_format: str, target: str, count: int) -> None:
    """Write rows in another process: one that is started counts its parent's memory as its own."""
    command = [sys.executable, "-m", "benchmarks.rows", f"--count={count}", "--write", file_format, target]
    subprocess.run(command, check=True, env=os.environ)


def _write(file_format: str, target: str, count: int) -> None:
    made = rows(count)
    chunks = iter(lambda: pa.Table.from_pylist(list(islice(made, _CHUNK_ROWS))), pa.table({}))
    _WRITERS[file_format](target, chunks)


def _write_csv(path: str, chunks: Iterator[pa.Table]) -> None:
    first = next(chunks)
    with pa.csv.CSVWriter(path, first.schema) as writer:
        writer.write_table(first)
        for chunk in chunks:
            writer.write_table(chunk)


def _write_parquet(path: str, chunks: Iterator[pa.Table]) -> None:
    first = next(chunks)
    with pa.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for chunk in chunks:
            writer.write_table(chunk)


def _write_avro(path: str, chunks: Iterator[pa.Table]) -> None:
    first = next(chunks)
    types = {pa.string(): "string", pa.int64(): "long", pa.float64(): "double", pa.bool_(): "boolean"}
    # Names of Avro are letters, digits and underscores.
    names = {name: name.replace("$", "_") for name in first.schema.names}
    fields = [{"name": names[field.name], "type": types[field.type]} for field in first.schema]
    schema = {"type": "record", "name": "Event", "fields": fields}
    with open(path, "wb") as file:
        records = (
            {names[name]: value for name, value in row.items()}
            for chunk in (first, *chunks)
            for row in chunk.to_pylist()
        )
        fastavro.writer(file, schema, records, codec="deflate")


def _write_json(path: str, chunks: Iterator[pa.Table]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        separator = "[\n"
        for chunk in chunks:
            for row in chunk.to_pylist():
                file.write(separator + json.dumps(row, ensure_ascii=False))
                separator = ",\n"
        file.write("\n]\n")


def _write_postgresql(url: str, chunks: Iterator[pa.Table]) -> None:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(url) as connection, connection.cursor() as cursor:
        for chunk in chunks:
            cursor.adbc_ingest(_TABLE, chunk, mode="create_append")
        connection.commit()


_WRITERS: Final[dict[str, Callable[[str, Iterator[pa.Table]], None]]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "avro": _write_avro,
    "json": _write_json,
    "postgresql": _write_postgresql,
}


if __name__ == "__main__":
    main()
