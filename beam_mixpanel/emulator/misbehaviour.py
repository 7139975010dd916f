"""What each kind of fault does to an exchange."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec

from beam_mixpanel.emulator import answers, faults
from beam_mixpanel.emulator.answers import Answer
from beam_mixpanel.emulator.bodies import BadBodyError, Batch, BodyTooLargeError
from beam_mixpanel.emulator.exchange import Exchange
from beam_mixpanel.emulator.ingestion import IngestionRequest
from beam_mixpanel.emulator.validation import MalformedJSONError, Refusal, insert_id_of

HTML = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"

# Seen in https://github.com/mixpanel/mixpanel-utils/issues/23: a 5xx comes from a proxy, and is not JSON.
UPSTREAM_ERROR = "upstream connect error or disconnect/reset before headers"
FIRST_SERVER_ERROR = 500


async def misbehave(fault: faults.Fault, exchange: Exchange) -> None:
    """Treat one exchange as the fault says."""
    await _ACTIONS[type(fault)](fault, exchange)


async def _status(fault: faults.Status, exchange: Exchange) -> None:
    await _replace_answer(exchange, _status_answer(fault), commit=fault.commit)


async def _html_200(fault: faults.HTML200, exchange: Exchange) -> None:
    await _replace_answer(exchange, Answer(200, HTML.encode(), "text/html"), commit=fault.commit)


async def _empty_200(fault: faults.Empty200, exchange: Exchange) -> None:
    await _replace_answer(exchange, Answer(200), commit=fault.commit)


async def _redirect(fault: faults.Redirect, exchange: Exchange) -> None:
    await _replace_answer(exchange, Answer(fault.status, headers={"location": fault.location}), commit=False)


async def _too_many_events(fault: faults.TooManyEvents, exchange: Exchange) -> None:
    await _replace_answer(exchange, answers.too_large(fault.max_events), commit=False)


async def _reset_before(fault: faults.ResetBefore, exchange: Exchange) -> None:
    await exchange.reset()


async def _reset_during(fault: faults.ResetDuring, exchange: Exchange) -> None:
    await exchange.read_part()
    await exchange.reset()


async def _reset_after_commit(fault: faults.ResetAfterCommit, exchange: Exchange) -> None:
    await exchange.process()
    await exchange.reset()


async def _truncated(fault: faults.Truncated, exchange: Exchange) -> None:
    answer = await exchange.process()
    sent_bytes = fault.sent_bytes
    if sent_bytes is None:
        sent_bytes = len(answer.body) // 2
    await exchange.answer_partly(answer, min(sent_bytes, len(answer.body) - 1))


async def _drip(fault: faults.Drip, exchange: Exchange) -> None:
    await exchange.answer_slowly(await exchange.process(), fault.interval_secs)


async def _hang(fault: faults.Hang, exchange: Exchange) -> None:
    await exchange.read()
    if fault.commit:
        await exchange.process()
    if not await exchange.client_leaves_within(fault.secs):
        await exchange.close()


async def _latency(fault: faults.Latency, exchange: Exchange) -> None:
    await exchange.read()
    await exchange.client_leaves_within(fault.secs)
    await exchange.answer(await exchange.process())


async def _wrong_count(fault: faults.WrongCount, exchange: Exchange) -> None:
    answer = await exchange.process()
    content = msgspec.json.decode(answer.body)
    if isinstance(content, dict) and "num_records_imported" in content:
        content["num_records_imported"] += fault.delta
        answer = replace(answer, body=msgspec.json.encode(content))
    await exchange.answer(answer)


async def _close_keepalive(fault: faults.CloseKeepalive, exchange: Exchange) -> None:
    await exchange.answer_and_close(await exchange.process())


async def _failed_records(fault: faults.FailedRecords, exchange: Exchange) -> None:
    await exchange.answer(_refuse_front(fault, exchange, await exchange.read()))


async def _replace_answer(exchange: Exchange, answer: Answer, *, commit: bool) -> None:
    await exchange.read()
    if commit:
        await exchange.process()
    await exchange.answer(answer)


def _status_answer(fault: faults.Status) -> Answer:
    answer = _default_answer(fault.status)
    if isinstance(fault.body, str):
        answer = answers.text_answer(fault.status, fault.body)
    elif fault.body is not None:
        answer = answers.json_answer(fault.status, fault.body)
    return replace(answer, content_type=fault.content_type or answer.content_type, headers=fault.headers)


def _default_answer(status: int) -> Answer:
    if status in faults.BODYLESS_STATUSES:
        return Answer(status)
    if status == answers.TOO_MANY_REQUESTS:
        return answers.rate_limited()
    if status >= FIRST_SERVER_ERROR:
        return answers.text_answer(status, UPSTREAM_ERROR)
    return answers.envelope(status, "fault")


def _refuse_front(fault: faults.FailedRecords, exchange: Exchange, request: IngestionRequest) -> Answer:
    """Answer a 400 in which the first events are refused and the others are processed as they deserve."""
    if fault.variant == "none":
        return answers.refused_records(0, None)
    if fault.variant == "strings":
        return answers.refused_records(0, ["some event in this request is invalid"])
    try:
        events = request.batch.events
    except (BadBodyError, BodyTooLargeError):
        events = []
    if not events:
        return exchange.process_instead(request)
    count = fault.count
    if fault.variant == "duplicate_id":
        count = 2
    count = min(count, len(events))
    front = [_fault_refusal(index, text) for index, text in enumerate(events[:count])]
    rest = replace(request)
    rest.batch = Batch(events[count:], request.batch.form)
    imported = 0
    refused: list[dict[str, Any]] = []
    if events[count:]:
        imported, refused = _outcome(exchange.process_instead(rest))
    records = [refusal.record() for refusal in front]
    records += [record | {"index": record["index"] + count} for record in refused if isinstance(record, dict)]
    return _VARIANTS[fault.variant](imported, records, len(events))


def _fault_refusal(index: int, text: bytes) -> Refusal:
    try:
        insert_id = insert_id_of(text)
    except MalformedJSONError:
        insert_id = ""
    return Refusal(index, insert_id, "properties", "'properties' is invalid: refused by a fault")


def _outcome(answer: Answer) -> tuple[int, list[dict[str, Any]]]:
    content = msgspec.json.decode(answer.body)
    if not isinstance(content, dict):
        return 0, []
    return content.get("num_records_imported", 0), content.get("failed_records", [])


def _standard(imported: int, records: list[dict[str, Any]], events: int) -> Answer:
    return answers.refused_records(imported, records)


def _dollar_insert_id(imported: int, records: list[dict[str, Any]], events: int) -> Answer:
    """The key as in the example of https://docs.mixpanel.com/reference/import-events."""
    names = {"insert_id": "$insert_id"}
    renamed = [{names.get(key, key): value for key, value in record.items()} for record in records]
    return answers.refused_records(imported, renamed)


def _index_out_of_range(imported: int, records: list[dict[str, Any]], events: int) -> Answer:
    return answers.refused_records(imported, [record | {"index": record["index"] + events} for record in records])


def _miscount(imported: int, records: list[dict[str, Any]], events: int) -> Answer:
    wrong = imported - 1 if imported else 1
    return answers.refused_records(wrong, records)


def _duplicate_id(imported: int, records: list[dict[str, Any]], events: int) -> Answer:
    return answers.refused_records(imported, [record | {"insert_id": records[0]["insert_id"]} for record in records])


def _duplicate_index(imported: int, records: list[dict[str, Any]], events: int) -> Answer:
    return answers.refused_records(imported, [*records, records[0]])


_VARIANTS: dict[str, Callable[[int, list[dict[str, Any]], int], Answer]] = {
    "standard": _standard,
    "dollar_insert_id": _dollar_insert_id,
    "index_out_of_range": _index_out_of_range,
    "miscount": _miscount,
    "duplicate_id": _duplicate_id,
    "duplicate_index": _duplicate_index,
}

_ACTIONS: dict[type[faults.Fault], Callable[[Any, Exchange], Awaitable[None]]] = {
    faults.Status: _status,
    faults.ResetBefore: _reset_before,
    faults.ResetDuring: _reset_during,
    faults.ResetAfterCommit: _reset_after_commit,
    faults.Truncated: _truncated,
    faults.Drip: _drip,
    faults.Hang: _hang,
    faults.Latency: _latency,
    faults.WrongCount: _wrong_count,
    faults.HTML200: _html_200,
    faults.Empty200: _empty_200,
    faults.FailedRecords: _failed_records,
    faults.TooManyEvents: _too_many_events,
    faults.Redirect: _redirect,
    faults.CloseKeepalive: _close_keepalive,
}
