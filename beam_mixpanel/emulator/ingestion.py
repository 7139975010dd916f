"""What `/import` and `/track` do with a request: decide, store, answer. No sockets here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from beam_mixpanel.emulator import answers
from beam_mixpanel.emulator.answers import Answer
from beam_mixpanel.emulator.bodies import (
    BadBodyError,
    Batch,
    BodyTooLargeError,
    decompress,
    form_fields,
    read_batch,
    read_query,
)
from beam_mixpanel.emulator.credentials import Credentials
from beam_mixpanel.emulator.options import EmulatorOptions, LimitSettings
from beam_mixpanel.emulator.rate_limit import RateLimits
from beam_mixpanel.emulator.rules import MS_PER_SEC, Context
from beam_mixpanel.emulator.statistics import Statistics
from beam_mixpanel.emulator.store import EventStore
from beam_mixpanel.emulator.validation import (
    CheckedBatch,
    IdentityEventError,
    MalformedJSONError,
    check_import,
    check_track,
)

IMPORT_PATH = "/import"
TRACK_PATH = "/track"
MAX_REQUEST_EVENTS = 2000


@dataclass
class IngestionRequest:
    """One request to `/import` or `/track`, its body read completely.

    Attributes:
      path: without a slash at its end.
      headers: names in lower case.
      max_body_bytes: bound on the uncompressed body.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    max_body_bytes: int

    @cached_property
    def uncompressed(self) -> bytes:
        """The body without its content encoding.

        Raises:
          BadBodyError: it is not what its headers say.
          BodyTooLargeError: it exceeds max_body_bytes.
        """
        encoding = self.headers.get("content-encoding", "").strip().lower()
        return decompress(self.body, encoding, self.max_body_bytes)

    @cached_property
    def batch(self) -> Batch:
        """The events of the body, each as it was written; raises as `uncompressed` does."""
        if not self.body and ("data" in self.query or self.path == TRACK_PATH):
            return read_query(self.query)
        single_object = self.path == TRACK_PATH
        return read_batch(self.uncompressed, self.headers.get("content-type", ""), single_object=single_object)

    @property
    def event_count(self) -> int:
        """The number of events, 0 if the body cannot be read."""
        try:
            return len(self.batch.events)
        except (BadBodyError, BodyTooLargeError):
            return 0

    @property
    def uncompressed_bytes(self) -> int | None:
        """The size of the body without its content encoding, None if it cannot be read."""
        try:
            return len(self.uncompressed)
        except (BadBodyError, BodyTooLargeError):
            return None

    def parameter(self, name: str) -> str | None:
        """Return a parameter of the URL, or of the form as older SDKs send it."""
        if name in self.query:
            return self.query[name]
        try:
            return form_fields(self.uncompressed, self.headers.get("content-type", "")).get(name)
        except (BadBodyError, BodyTooLargeError):
            return None


class Ingestion:
    """The state that ingestion changes, and the ways it changes it."""

    def __init__(self, options: EmulatorOptions, store: EventStore, statistics: Callable[[], Statistics]) -> None:
        """Start with the limits and the kind of project that the options name."""
        self._options = options
        self._store = store
        self._statistics = statistics
        self._credentials = Credentials(options)
        self.set_limits(options.limits())
        self.project = options.project()

    def set_limits(self, settings: LimitSettings) -> None:
        """Replace the rate limits and forget what was used of them."""
        self.limits = RateLimits(settings, self._options.clock)

    def refuse_credentials(self, headers: Mapping[str, str], project_id: str | None) -> str | None:
        """Return the error text of the 401, or None if the credentials are accepted."""
        return self._credentials.refuse(headers.get("authorization", ""), project_id)

    def handle(self, request: IngestionRequest) -> Answer:
        """Process a request and return its answer."""
        answer = self._refuse_request(request)
        if answer:
            return answer
        if not self.limits.admit(len(request.batch.events)):
            self._statistics().rate_limited += len(request.batch.events)
            return answers.rate_limited()
        try:
            if request.path == TRACK_PATH:
                return self._track(request)
            return self._import(request)
        except MalformedJSONError:
            return self._refuse_whole(request, "body is not valid JSON")

    def _refuse_request(self, request: IngestionRequest) -> Answer | None:
        """Answer what fails as a whole."""
        if request.path == IMPORT_PATH:
            error = self.refuse_credentials(request.headers, request.query.get("project_id"))
            if error:
                self._count_refused(request, error)
                return answers.envelope(401, error)
        try:
            events = len(request.batch.events)
        except BodyTooLargeError:
            return answers.too_large(request.max_body_bytes)
        except BadBodyError as error:
            return self._refuse_whole(request, str(error))
        if events > MAX_REQUEST_EVENTS:
            return self._refuse_whole(request, f"request exceeds max limit of {MAX_REQUEST_EVENTS} events")
        if not events:
            return _nothing_sent(request)
        return None

    def _refuse_whole(self, request: IngestionRequest, error: str) -> Answer:
        """Answer a 400, or at `/track` a 200 that names no event valid; the words are synthetic, no page has any.

        Mixpanel's OpenAPI file has no 400 for `/track`:
        https://github.com/mixpanel/docs/blob/main/openapi/ingestion.openapi.yaml
        """
        self._count_refused(request, error)
        if request.path == TRACK_PATH:
            return answers.received(error, verbose=_is_verbose(request))
        return answers.envelope(400, error)

    def _count_refused(self, request: IngestionRequest, reason: str) -> None:
        self._statistics().events_refused({reason: request.event_count})

    def _import(self, request: IngestionRequest) -> Answer:
        strict, verbose = _is_strict(request), _is_verbose(request)
        try:
            checked = check_import(request.batch.events, self._context(insert_id_required=strict))
        except IdentityEventError:
            return self._refuse_identity_events(request)
        self._keep(checked, request.path)
        imported, refused = len(checked.events), len(checked.refusals)
        if strict:
            return answers.strict_import(imported, checked.refusals)
        dropped = checked.dropped.total()
        if request.batch.form is not None:
            error = None if imported or dropped else answers.SOME_FAILED
            return answers.received(error, verbose=verbose)
        return answers.lenient_import(imported, refused, verbose=verbose, dropped=dropped)

    def _refuse_identity_events(self, request: IngestionRequest) -> Answer:
        """Refuse the whole batch, as was observed by https://github.com/ak--47/mixpanel-import."""
        error = answers.IDENTITY_EVENTS
        if _is_strict(request):
            answer = answers.refused_records(0, [error])
        else:
            answer = answers.lenient_import(0, 1, verbose=_is_verbose(request), error=error)
        self._count_refused(request, error)
        return answer

    def _track(self, request: IngestionRequest) -> Answer:
        checked = check_track(request.batch.events, self._context())
        self._keep(checked, request.path)
        error = None
        if not checked.events and not checked.dropped:
            error = checked.refusals[0].message
        return answers.received(error, verbose=_is_verbose(request))

    def _keep(self, checked: CheckedBatch, path: str) -> None:
        kept = checked.events, checked.keys, checked.labels
        self._store.append(*kept, received_ms=self.now_ms(), endpoint=path)
        statistics = self._statistics()
        statistics.events_accepted(len(checked.events))
        statistics.events_refused(Counter(refusal.message for refusal in checked.refusals))
        statistics.events_refused(checked.dropped)

    def _context(self, *, insert_id_required: bool = True) -> Context:
        return Context(
            now_ms=self.now_ms(),
            original_id_merge=self.project.id_merge == "original",
            as_sent=self.project.as_sent,
            insert_id_required=insert_id_required,
            project_token=self._options.project_token,
        )

    def now_ms(self) -> int:
        """Return the server's time."""
        return int(self._options.clock() * MS_PER_SEC)


def _is_strict(request: IngestionRequest) -> bool:
    """`strict` is 1 by default in Mixpanel's OpenAPI description; the older form knows nothing of it."""
    default = "1" if request.batch.form is None else "0"
    return request.query.get("strict", default) == "1"


def _is_verbose(request: IngestionRequest) -> bool:
    return request.parameter("verbose") in ("1", "2", "true")


def _nothing_sent(request: IngestionRequest) -> Answer:
    """Answer an empty batch; the text of a strict import is synthetic."""
    if request.path == IMPORT_PATH and _is_strict(request):
        return answers.envelope(400, "request holds no events")
    return answers.received("data, missing or empty", verbose=_is_verbose(request))
