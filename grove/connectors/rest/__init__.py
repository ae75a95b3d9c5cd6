"""The REST connector: turns what a source declares into a collection.

A built-in connector is a subclass with a `SOURCE`; `http_json` has it in its configuration document.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from grove import _core
from grove.caches import BaseCache
from grove.connectors import BaseConnector
from grove.connectors.rest import times
from grove.connectors.rest.gathering import Gathering
from grove.connectors.rest.paging import Entries, Page, Request, Walk, search
from grove.connectors.rest.refresh_tokens import RefreshTokens
from grove.connectors.rest.source import (
    DAY,
    HOUR,
    MINUTE,
    Auth,
    BasicAuth,
    FollowUp,
    GoogleAuth,
    HeaderAuth,
    Keyset,
    Link,
    OAuth2Auth,
    Offset,
    PageNumber,
    RateLimited,
    Seek,
    Single,
    Source,
    Token,
)
from grove.connectors.rest.templates import fill, fill_url, names
from grove.connectors.rest.text import reads_as_text, taken
from grove.constants import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL
from grove.exceptions import ConfigurationException, GroveException, NotFoundException, RequestFailedException
from grove.helpers import clock, parsing
from grove.helpers.ahead import Ahead
from grove.http import Auth as Credentials
from grove.http import Basic, Client, Header, OAuth2, RateLimit, Response, SignedJwt, Stored, next_link
from grove.http.origin import shown
from grove.models import ConnectorConfig, attribute_name

__all__ = [
    "CHRONOLOGICAL",
    "DAY",
    "HOUR",
    "MINUTE",
    "REVERSE_CHRONOLOGICAL",
    "BasicAuth",
    "DelayedConfiguration",
    "FollowUp",
    "GoogleAuth",
    "HeaderAuth",
    "Keyset",
    "Link",
    "OAuth2Auth",
    "Offset",
    "PageNumber",
    "RateLimited",
    "RestConnector",
    "Seek",
    "Single",
    "Source",
    "Token",
    "needed_by",
]


# Where a subclass does one of these in its own way, it sees every page by itself.
_PAGE_BY_PAGE = ("save", "process", "process_and_write", "deduplicate_by_hash", "save_hashes", "finalize")


class RestConfiguration(ConnectorConfig):
    """The fields that every source of this kind has."""

    gather: int | None = Field(
        None, ge=1, description="Entries up to which small pages are saved together; 1 saves each page by itself."
    )


class DelayedConfiguration(RestConfiguration):
    """The fields of a source that gives entries late."""

    delay: int = Field(0, ge=0, description="Minutes that entries are given to arrive in.")


class RestConnector(BaseConnector):
    """Collects what `SOURCE` declares. A subclass says only what is particular to its API.

    `Configuration` declares the fields that a document may have beside the common ones; `source()` may be overridden
    where the declaration depends on them, `variables()` where a template needs what has to be worked out, `prepare()`
    where entries have to be changed in a way that no declaration can say.
    """

    SOURCE: ClassVar[Source]
    PIPELINED = True

    past: tuple[int, int] | None = None
    """A span to collect in place of what is new: from the first moment to before the second (see `times`)."""

    class Configuration(RestConfiguration):
        """The fields of a configuration document."""

    def source(self) -> Source:
        """What this stream's API is like."""
        return self.SOURCE

    def no_past(self) -> str:
        """Why this stream cannot collect a `past`; empty where it can. ConfigurationException as `source()`."""
        source = self.source()
        if source.snapshot:
            return "every run delivers the whole list, as it is at that moment"
        return "" if source.asks_since or source.trim else "its API takes no time to ask from"

    def variables(self) -> dict[str, Any]:
        """Values for templates beside those that every source has."""
        return {}

    def prepare(self, entries: list[Any], response: Response) -> list[Any]:
        """The entries of an answer, before anything else is done with them. May run beside `save()`."""
        return entries

    @classmethod
    def credentials(cls, document: Mapping[str, Any]) -> list[set[str]]:
        """Sets of fields, of which `document` needs all of one set to sign in; none where nobody has to."""
        source = getattr(cls, "SOURCE", None)
        return needed_by(source.auth) if source is not None else []

    @property
    def fields(self) -> Any:
        """The document as this connector's `Configuration`. ConfigurationException names each field that is wrong."""
        if self._fields is None:
            self._fields = self.validated(self.configuration)
        return self._fields

    _fields: Any = None

    @classmethod
    def validated(cls, config: ConnectorConfig) -> Any:
        """`config` as this connector's `Configuration`. ConfigurationException names each field that is wrong."""
        try:
            return cls.Configuration.model_validate(
                {**config.model_dump(exclude={"encoding"}, exclude_unset=True), "encoding": {}}
            )
        except ValidationError as err:
            raise ConfigurationException(
                f"The configuration document {config.name!r} ({config.connector}) cannot be used. "
                f"{parsing.validation_error(err)}."
            ) from None

    @classmethod
    def _stream_values(cls, config: ConnectorConfig) -> dict[str, Any]:
        # A field that is not there is the same as its default.
        return super()._stream_values(cls.validated(config))

    def _lookback(self) -> float:
        """The document's, else what the source declares; seconds."""
        source = self.source()
        if source.snapshot:
            return 0.0
        return super()._lookback() if "lookback" in self.configuration.model_fields_set else source.lookback

    def _delay(self, source: Source) -> float:
        """The document's, which has minutes, else what the source declares; seconds."""
        fields = self.fields
        return float(fields.delay * MINUTE) if isinstance(fields, DelayedConfiguration) else source.delay

    def _hasher(self) -> Any:
        unique = self.source().unique
        return super()._hasher() if unique is None else functools.partial(self._hash_of_unique, unique)

    def _hash_of_unique(self, unique: str, entry: Any) -> str:
        found = search(unique, entry)
        if found is None or (isinstance(found, list) and None in found):
            return self.hash_entry(entry)
        return self.hash_entry({"unique": found})

    # --- one run ---

    def collect(self) -> None:
        """Ask for everything from the pointer on, and save it page by page."""
        source = self.source()
        client = self._client(source)
        now = times.nanoseconds(clock.now())
        if source.snapshot:
            self._each_page(source, client, self._walk(source, (None, now), None), self._write_page)
            return
        cursor = self._stored_cursor(source)
        until = now - int(self._delay(source) * times.SECOND) if self.past is None else self.past[1] - 1
        since = None if cursor is not None else self._since(source, now)
        if since is not None and until <= since:
            self.logger.debug("There is nothing to ask for before the delay has passed.")
            return
        self._note_question(source, since, until)
        newest_first = self.LOG_ORDER == REVERSE_CHRONOLOGICAL
        for span in times.spans(since, until, source.max_span, newest_first=newest_first):
            self._collect_span(source, client, span, cursor)
        # Also where the answer was that there is nothing new: what an earlier run left open is complete now.
        self.complete()

    def _note_question(self, source: Source, since: int | None, until: int) -> None:
        fixed = {name: str(value) for name, value in source.params.items() if not names(value)}
        asked = None if since is None else str(times.written(since, "iso_us"))
        self.asked(asked, str(times.written(until, "iso_us")), fixed)

    def _collect_span(self, source: Source, client: Client, span: times.Span, cursor: str | None) -> None:
        """Save every page of one query."""
        try:
            self._each_page(source, client, self._walk(source, span, cursor), self._save_page)
            return
        except _CursorExpired as err:
            self.logger.warning(
                "The source does not know its cursor any longer; asking from the pointer on.",
                extra={"event": "cursor_expired", "exception": str(err)},
            )
        now = times.nanoseconds(clock.now())
        span = (self._since(source, now), span[1])
        self._each_page(source, client, self._walk(source, span, None), self._save_page)

    def _save_page(self, page: Page) -> None:
        # What has come is kept, although the process may be about to stop by now.
        save = self.save if self._overrides("save") else self._save
        save(page.entries, cursor=page.cursor)

    def _write_page(self, page: Page) -> None:
        if page.entries:
            self.process_and_write(list(page.entries))
            self.finalize()

    def _each_page(self, source: Source, client: Client, walk: Walk, handle: Callable[[Page], None]) -> None:
        """Call `handle` with each page in turn; the next one is fetched meanwhile.

        Where something goes wrong, or the process is asked to stop, what has come until then is still handled.
        """

        def fetch(request: Request) -> Page:
            if source.pause and request is not walk.start:
                self.wait(source.pause)
            return self._fetch(source, walk, client, request)

        ahead = Ahead(fetch, name=f"grove-ahead-{self.name}")
        gathered = self._gathering(source)
        try:
            page = fetch(walk.start)
            while True:
                if page.following is not None:
                    ahead.start(page.following)
                if not gathered.fits(page):
                    handle(gathered.take())
                gathered.add(page)
                if page.following is None:
                    break
                if gathered.full or not ahead.ready(gathered.patience):
                    handle(gathered.take())
                try:
                    if self.stopping.is_set():
                        raise self._stopped()
                    page = ahead.result()
                except Exception:
                    if gathered:
                        # What came before is kept.
                        handle(gathered.take())
                    raise
            handle(gathered.take())
        finally:
            ahead.close()
        if page.loops:
            raise RequestFailedException(
                f"{shown(walk.start.url)} leads back to a page that it gave before (cursor_loop). What came until then "
                "is kept; the next run goes on from there."
            )

    def _gathering(self, source: Source) -> Gathering:
        fields = self.fields
        given = fields.gather if isinstance(fields, RestConfiguration) else None
        most = source.gather if given is None else given
        # A run with a `limit` ends after the very page that reaches it.
        if self.limit is not None or any(map(self._overrides, _PAGE_BY_PAGE)):
            most = 1
        pointers_of = None if source.snapshot else self._pointer_path().pointers
        return Gathering(most, pointers_of, self._hasher() or _core.hash_entry)

    def _fetch(self, source: Source, walk: Walk, client: Client, request: Request) -> Page:
        resumed = request is walk.start and walk.resumed
        expired = source.paging.expired if resumed and isinstance(source.paging, Token) else ()
        response = client.request(
            request.method,
            request.url,
            params=request.params,
            headers=request.headers,
            json=request.body,
            error=functools.partial(self._error_in, source.error, source) if source.error is not None else None,
            accept=(*expired, *source.empty_statuses),
        )
        if response.status in expired:
            raise _CursorExpired(f"It answered status {response.status}: {response.excerpt()}")
        data, entries = ({}, []) if response.status in source.empty_statuses else self._read(source, response)
        if isinstance(entries, list):
            entries = self.prepare(entries, response)
        page = replace(walk.page(request, response, data, entries), size=len(response.body))
        over = self.past is not None and self._has_passed(self.past[1], page.entries)
        since = walk.span[0]
        # What is asked for from an earlier moment on is more than what is known.
        earlier = since is not None and (source.exclusive or not times.is_exact(since, source.time_format))
        if source.trim or (source.asks_since and earlier) or self.past is not None:
            page = self._trimmed(page, walk.span)
        if source.keep is not None:
            page = replace(page, entries=[entry for entry in page.entries if search(source.keep, entry)])
        if source.follow_up is not None:
            page = self._followed(source.follow_up, client, request.headers, page)
        if source.select is not None:
            chosen = [search(source.select, entry) for entry in page.entries]
            page = replace(page, entries=[entry for entry in chosen if entry is not None])
        if self.past is not None:
            page = replace(page, entries=self._of_the_past(self.past, page.entries))
        return replace(page, following=None, loops=False) if over else page

    def _is_text(self, source: Source) -> bool:
        """Whether entries can stay the text they came in, because nothing that is declared looks into them."""
        if self._reads_text is None:
            self._reads_text = (
                reads_as_text(source)
                and self.past is None
                and not self._overrides("save")
                and type(self).prepare is RestConnector.prepare
            )
        return self._reads_text

    _reads_text: bool | None = None

    def _error_in(self, expression: str, source: Source, response: Response) -> str | None:
        is_text = self._is_text(source)
        data = response.page(source.entries, self.POINTER_PATH).envelope() if is_text else response.json()
        found = search(expression, data)
        return str(found) if found else None

    def _read(self, source: Source, response: Response) -> tuple[Any, Entries]:
        """The JSON of an answer, and the list of entries in it. RequestFailedException where it has none."""
        if self._is_text(source):
            page = response.page(source.entries, self.POINTER_PATH)
            data, kind, stranger = page.envelope(), page.kind, page.stranger
            entries: Entries = page
        else:
            data = response.json()
            found = search(source.entries, data)
            kind = "nothing" if found is None else type(found).__name__
            entries = found if isinstance(found, list) else []
            others = (entry for entry in entries if entry is not None and not isinstance(entry, dict))
            stranger = next((type(entry).__name__ for entry in others), None)
        if kind == "nothing" and source.entries_optional and isinstance(data, dict):
            return data, []
        if kind != "list":
            raise RequestFailedException(
                f"The answer has {kind if kind == 'nothing' else f'a {kind}'} at {source.entries!r}, where a list of "
                f"entries was expected: {response.excerpt()}"
            )
        if stranger is not None:
            raise RequestFailedException(
                f"The list at {source.entries!r} has a {stranger} in it, where objects were expected."
            )
        return data, entries

    def _followed(self, follow_up: FollowUp, client: Client, headers: Mapping[str, str], page: Page) -> Page:
        made, given, size = [], self._document_values(), page.size
        for entry in page.entries:
            values = {**given, **{name: search(path, entry) for name, path in follow_up.values.items()}}
            url, params = fill_url(follow_up.url, values), fill(follow_up.params, values)
            answer = client.get(url, params=params, headers=headers, accept=follow_up.missing)
            if answer.status in follow_up.missing:
                self.logger.warning("The source has no details of an entry.", extra={"event": "entry_without_details"})
                if follow_up.into is not None:
                    made.append(entry)
                continue
            answers = list(_linked(follow_up, client, headers, answer))
            found = _details(follow_up, answers)
            size += sum(len(one.body) for one in answers)
            made.append(found if follow_up.into is None else {**entry, follow_up.into: found})
        return replace(page, entries=made, size=size)

    # --- what to ask for ---

    def _since(self, source: Source, now: int) -> int | None:
        """From when on to ask; on the first run that becomes the pointer, so that an outage moves nothing."""
        if not source.asks_since and not source.trim:
            return None
        try:
            pointer = self.since
        except NotFoundException:
            first = self._beginning(source, now)
            if source.asks_since or self.past is not None:
                self.pointer = str(times.written(first, source.pointer_format or source.time_format))
            return first
        moment = times.moment_of(pointer)
        if moment is None and isinstance(source.paging, Token) and source.paging.resume:
            # A cursor, from before those were kept apart, which the source does not know any longer.
            return self._beginning(source, now)
        if moment is None:
            raise ConfigurationException(
                f"The pointer of {self.name!r} is {pointer!r}, which is no time to ask the source from. Clear or "
                "correct it; without one, collection begins anew."
            )
        if source.retention is not None and moment < now - source.retention * times.SECOND:
            self.logger.warning(
                "The pointer lies before what the source keeps; entries in between cannot be had any longer.",
                extra={
                    "event": "gap_detected",
                    "from": times.written(moment, "iso"),
                    "to": times.written(now - int(source.retention * times.SECOND), "iso"),
                },
            )
        return moment

    def _beginning(self, source: Source, now: int) -> int:
        return now - int(source.first_run * times.SECOND) if self.past is None else self.past[0]

    def _stored_cursor(self, source: Source) -> str | None:
        """Where to go on, for a source that has a place of its own; also from before those were kept apart."""
        if not isinstance(source.paging, Token) or not source.paging.resume:
            return None
        if self.cursor:
            return self.cursor
        try:
            pointer = self.pointer
        except NotFoundException:
            return None
        return pointer if times.moment_of(pointer) is None else None

    def _walk(self, source: Source, span: times.Span, cursor: str | None) -> Walk:
        later = source.paging.url if isinstance(source.paging, Token) else None
        return Walk(
            source.paging,
            self._first_request(source, span),
            span,
            fill_url(later, self._values(source, span)) if later is not None else None,
            cursor,
            lambda moment: self._first_request(source, (moment, span[1])),
        )

    def _first_request(self, source: Source, span: times.Span) -> Request:
        values = self._values(source, span)
        return Request(
            source.method,
            fill_url(source.url, values),
            params=fill(source.params, values),
            body=fill(source.body, values),
            headers=fill(source.headers, values),
        )

    def _values(self, source: Source, span: times.Span) -> dict[str, Any]:
        since, until = span
        if since is not None and source.exclusive:
            since -= 1
        values = {
            **self._document_values(),
            "since": None if since is None else times.written(since, source.time_format),
            "until": (times.written if self.past is None else times.written_up)(until, source.time_format),
        }
        if any("pointer" in names(part) for part in (source.url, source.params, source.body)):
            try:
                values["pointer"] = self.pointer
            except NotFoundException:
                values["pointer"] = None
        return values

    def _document_values(self) -> dict[str, Any]:
        fields = self.fields
        return {
            **fields.model_dump(exclude={"secrets", "encoding", "processors", "outputs"}),
            "key": self.key,
            "category": None if self.operation == "all" else self.operation,
            **self.variables(),
        }

    def _trimmed(self, page: Page, span: times.Span) -> Page:
        """The entries within the span. A newest-first source has no more of them once it has passed its beginning."""
        since, until = span
        kept, passed = [], False
        for index, pointer in enumerate(self._pointer_path().pointers(page.entries)):
            moment = None if pointer is None else times.moment_of(pointer)
            if moment is not None and since is not None and moment < since:
                passed = self.LOG_ORDER == REVERSE_CHRONOLOGICAL
            elif moment is None or moment <= until:
                kept.append(index)
        return replace(
            page,
            entries=taken(page.entries, kept),
            following=None if passed else page.following,
            loops=page.loops and not passed,
        )

    def _has_passed(self, end: int, entries: Entries) -> bool:
        """Whether an oldest-first source has nothing more from before `end`, as a page that lies behind it shows."""
        if self.LOG_ORDER != CHRONOLOGICAL:
            return False
        pointers = [pointer for pointer in self._pointer_path().pointers(entries) if pointer is not None]
        moments = [moment for moment in map(times.moment_of, pointers) if moment is not None]
        return bool(moments) and min(moments) >= end + int(self._lookback() * times.SECOND)

    def _of_the_past(self, past: tuple[int, int], entries: Entries) -> list[Any]:
        """The `entries` that lie in the span. ConfigurationException where a pointer is no time."""
        kept = []
        for entry, pointer in zip(entries, self._pointer_path().pointers(entries), strict=True):
            moment = None if pointer is None else times.moment_of(pointer)
            if pointer is not None and moment is None:
                raise ConfigurationException(
                    f"An entry of {self.name!r} has the pointer {pointer!r}, which is no time, so it cannot be told "
                    "which entries belong to a span of the past."
                )
            if moment is None or past[0] <= moment < past[1]:
                kept.append(entry)
        return kept

    # --- how to ask ---

    def _client(self, source: Source) -> Client:
        credentials = self._credentials(source)
        if credentials is not None and self.fetch_secrets is not None:
            credentials = Stored(credentials, lambda: self._replaced_credentials(source))
        limit = source.rate_limit
        return Client(
            None,
            credentials,
            timeout_read=source.read_timeout,
            attempts=source.attempts,
            max_response_bytes=source.max_response_bytes,
            rate_limit=RateLimit(
                reset_header=limit.reset_header,
                form=limit.form,
                remaining_header=limit.remaining_header,
                statuses=limit.statuses,
                default=limit.default,
            ),
            retry_statuses=source.retry_statuses,
            retry=None if limit.when is None else lambda answer: bool(search(str(limit.when), answer.json())),
            stop=self.stopping,
        )

    def _replaced_credentials(self, source: Source) -> Credentials | None:
        """What the secret store has by now; None where that is what was refused, or cannot be had."""
        assert self.fetch_secrets is not None
        try:
            fresh = self.fetch_secrets()
        except GroveException as err:
            self.logger.warning(
                "The source refuses the credentials, and they could not be fetched again.",
                extra={"event": "auth_failed", "exception": str(err)},
            )
            return None
        names = [attribute_name(field) for field in self.configuration.secrets]
        if all(getattr(fresh, name, None) == getattr(self.configuration, name, None) for name in names):
            self.logger.info(
                "The source refuses the credentials, and the secret store has no others.",
                extra={"event": "auth_failed", "fields": sorted(self.configuration.secrets)},
            )
            return None
        self.logger.info("The source refuses the credentials; going on with those that the secret store has by now.")
        self.configuration, self.key, self._fields = fresh, fresh.key, self.validated(fresh)
        return self._credentials(source)

    def _credentials(self, source: Source) -> Credentials | None:
        values = self._document_values()
        choices = source.auth if isinstance(source.auth, tuple) else (source.auth,)
        for choice in choices:
            if len(choices) == 1 or all(values.get(name) for name in _needed(choice)):
                return _credentials(choice, values, self._cache)
        if not choices:
            return None
        wanted = "; or ".join(", ".join(sorted(_needed(choice))) for choice in choices)
        raise ConfigurationException(f"The configuration document {self.name!r} has no credentials. It needs {wanted}.")


def needed_by(auth: Auth | tuple[Auth, ...]) -> list[set[str]]:
    """Sets of fields of a document, of which one set has to be there to sign in; none where nobody has to."""
    return [_needed(choice) for choice in (auth if isinstance(auth, tuple) else (auth,))]


class _CursorExpired(Exception):
    """The source does not take a cursor of an earlier run."""


def _needed(auth: Auth) -> set[str]:
    """The fields of a document without which there are no credentials. Those of a token request may be left out."""
    return names(auth.model_dump(exclude={"type", "fields"}))


def _credentials(auth: Auth, values: Mapping[str, Any], cache: BaseCache) -> Credentials:
    def text(template: str) -> str:
        return str(fill(template, values) or "")

    if isinstance(auth, HeaderAuth):
        return _header(auth, values)
    if isinstance(auth, BasicAuth):
        return Basic(text(auth.user), text(auth.password))
    if isinstance(auth, GoogleAuth):
        return SignedJwt.google(text(auth.key), auth.scopes, text(auth.subject))
    token_url, client_id, refresh_token = (
        fill_url(auth.token_url, values),
        text(auth.client_id),
        text(auth.refresh_token),
    )
    tokens = RefreshTokens(cache, refresh_token, token_url, client_id)
    return OAuth2(
        token_url,
        auth.grant,
        client_id=client_id,
        client_secret=text(auth.client_secret),
        refresh_token=refresh_token,
        scope=auth.scope,
        fields={name: value for name, template in auth.fields.items() if (value := text(template))},
        style=auth.style,
        base_url_field=auth.base_url_field,
        on_refresh_token=tokens.keep,
        kept_refresh_token=tokens.kept,
    )


def _header(auth: HeaderAuth, values: Mapping[str, Any]) -> Header:
    """The words before the credential stand for themselves; what is left is kept out of logs."""
    prefix, separator, value = auth.value.partition(" ")
    if not separator or names(prefix):
        prefix, value = "", auth.value
    return Header(auth.name, str(fill(value, values) or ""), prefix)


def _linked(follow_up: FollowUp, client: Client, headers: Mapping[str, str], answer: Response) -> Iterator[Response]:
    """A follow-up's answer, and the answers that it links to where it has a list."""
    yield answer
    if follow_up.next is None or not isinstance(search(follow_up.path, answer.json()), list):
        return
    asked = {answer.url}
    while link := search(follow_up.next, answer.json()):
        url = next_link(answer.url, str(link))
        if url in asked:
            raise RequestFailedException(f"{shown(url)} leads back to a page that it gave before (cursor_loop).")
        asked.add(url)
        answer = client.get(url, headers=headers)
        yield answer


def _details(follow_up: FollowUp, answers: list[Response]) -> Any:
    """What the answers to a follow-up have between them."""
    first, *others = (search(follow_up.path, answer.json()) for answer in answers)
    return [*first, *(part for found in others for part in found or [])] if others else first
