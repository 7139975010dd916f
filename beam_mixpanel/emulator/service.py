"""The emulator's state, and how it treats one ingestion request from its first byte to its record."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from starlette.types import Receive, Scope, Send

from beam_mixpanel.emulator.exchange import ClientGoneError, Exchange
from beam_mixpanel.emulator.faults import Fault, FaultBook
from beam_mixpanel.emulator.ingestion import Ingestion
from beam_mixpanel.emulator.misbehaviour import misbehave
from beam_mixpanel.emulator.options import EmulatorOptions
from beam_mixpanel.emulator.recorder import RequestRecorder
from beam_mixpanel.emulator.rules import MS_PER_SEC
from beam_mixpanel.emulator.statistics import Statistics
from beam_mixpanel.emulator.store import EventStore


class Service:
    """Everything that one emulator knows. Used from one event loop only."""

    def __init__(self, options: EmulatorOptions) -> None:
        """Open the storage."""
        self.options = options
        self.store = EventStore(options.storage)
        self.statistics = Statistics()
        self._resets = 0
        self.ingestion = Ingestion(options, self.store, lambda: self.statistics)
        self.faults = FaultBook()
        self.recorder = RequestRecorder(record_bodies=options.record_bodies)

    async def ingest(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to `/import` or `/track` (an ASGI application)."""
        exchange = Exchange(
            scope,
            receive,
            send,
            process=self.ingestion.handle,
            max_body_bytes=self.options.max_body_bytes,
        )
        began, statistics = time.monotonic(), self.statistics
        statistics.request_began()
        fault: Fault | None = None
        try:
            fault = await self._choose_fault(exchange)
            await self._respond(exchange, fault)
        except ClientGoneError:
            pass
        finally:
            if statistics is self.statistics:
                self._note(exchange, fault, time.monotonic() - began)
            else:
                self.statistics.in_flight -= 1  # it was reset since: this request belongs to the past

    def reset(self) -> None:
        """Return to the state at the start, as far as requests in flight allow."""
        self._resets += 1
        self.store.clear()
        self.statistics = self.statistics.carried_over()
        self.ingestion.set_limits(self.options.limits())
        self.ingestion.project = self.options.project()
        self.faults.clear()
        self.recorder.clear()

    def describe(self) -> dict[str, Any]:
        """Return the statistics as JSON values."""
        unique = self.store.unique()
        return self.statistics.describe() | {
            "unique_events": unique,
            "resets": self._resets,
            "duplicates": len(self.store) - unique,
            "limits": self.ingestion.limits.describe(),
            "project": asdict(self.ingestion.project),
            "active_faults": sum(not fault["exhausted"] for fault in self.faults.describe()),
        }

    def close(self) -> None:
        """Close the storage."""
        self.store.close()

    async def _choose_fault(self, exchange: Exchange) -> Fault | None:
        fault = self.faults.take(exchange.path)
        if fault is None and self.faults.counts_events:
            fault = self.faults.take(exchange.path, (await exchange.read()).event_count)
        return fault

    async def _respond(self, exchange: Exchange, fault: Fault | None) -> None:
        if self.options.latency_ms:
            await exchange.read()
            await exchange.client_leaves_within(self.options.latency_ms / MS_PER_SEC)
        if fault is None:
            await exchange.answer(await exchange.process())
        else:
            await misbehave(fault, exchange)

    def _note(self, exchange: Exchange, fault: Fault | None, seconds: float) -> None:
        kind = None if fault is None else str(fault.__struct_config__.tag)
        request = exchange.request
        self.statistics.request_ended(exchange.status, seconds, fault=kind)
        if request:
            self.statistics.events_received += request.event_count
            self.statistics.bytes_compressed += len(request.body)
            self.statistics.bytes_uncompressed += request.uncompressed_bytes or 0
        error = self.ingestion.refuse_credentials(exchange.headers, exchange.query.get("project_id"))
        self.recorder.record(
            {
                "method": exchange.method,
                "path": exchange.path,
                "query": exchange.query,
                "status": exchange.status,
                "fault": kind,
            },
            exchange.headers,
            request,
            authorized=error is None,
        )
