"""What there is to say about a log API: where it is, how it is asked, how its pages follow one another.

The same declarations serve built-in connectors, as Python objects, and `http_json`, as JSON. Texts may be templates:
`{name}` stands for a field of the configuration document or one of the variables that `Source` lists.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from grove.connectors.rest.times import check_format

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "Auth",
    "BasicAuth",
    "FollowUp",
    "GoogleAuth",
    "HeaderAuth",
    "Keyset",
    "Link",
    "OAuth2Auth",
    "Offset",
    "PageNumber",
    "Paging",
    "RateLimited",
    "Seek",
    "Single",
    "Source",
    "Token",
]

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def _expression(text: str) -> str:
    try:
        jmespath.compile(text)
    except JMESPathError as err:
        raise ValueError(f"{text!r} is not a JMESPath expression: {str(err).splitlines()[0]}") from err
    return text


Path: TypeAlias = Annotated[str, AfterValidator(_expression)]
"""A JMESPath expression, applied to the JSON of an answer (or, where it says so, to one entry)."""

TimeFormat: TypeAlias = Annotated[str, AfterValidator(check_format)]
"""How a moment is written: see `grove.connectors.rest.times`."""

Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


Param: TypeAlias = Annotated[
    str, Field(description="Where the place goes: the name of a parameter, or a dotted path in the body.")
]

Into: TypeAlias = Annotated[
    Literal["query", "body"] | None,
    Field(description="Where that parameter is; without this, in the query of a GET and the body of a POST."),
]


class _Declared(BaseModel):
    """Something that a source declares once, and that nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)


# --- credentials ---


class HeaderAuth(_Declared):
    """A header with a credential in it."""

    type: Literal["header"] = "header"
    name: str = "Authorization"
    """The header's name."""

    value: str = "Bearer {key}"
    """What stands in it; of several words, the first one is none of the credential."""


class BasicAuth(_Declared):
    """User name and password."""

    type: Literal["basic"] = "basic"
    user: str = "{identity}"
    """The user's name; it has no colon."""

    password: str = "{key}"
    """The password, or whatever the vendor has in its place."""


class OAuth2Auth(_Declared):
    """A token from a token endpoint: see `grove.http.OAuth2`.

    Where the vendor replaces refresh tokens, the newest one is kept in the cache, as it is, under a keyed hash of the
    one in the document, so that later runs and other processes go on with it. A cache that such streams use holds a
    secret: only its owner may read the files of local ones, and a shared one should be no more open than the secret
    store. Another token in the document begins anew with that one.
    """

    type: Literal["oauth2"] = "oauth2"
    token_url: str
    """The address of the token endpoint; https."""

    grant: str = "client_credentials"
    """`client_credentials`, `refresh_token`, or a grant of the vendor's own."""

    client_id: str = "{client_id}"
    """Who asks."""

    client_secret: str = "{client_secret}"
    """And what proves it."""

    refresh_token: str = ""
    """For the grant of that name."""

    scope: str = ""
    """What the token is to be good for, where the vendor wants to be told."""

    fields: dict[str, str] = Field(default_factory=dict)
    """What else the vendor wants to be told; those that are empty are left out."""

    style: Literal["form", "basic", "json"] = "form"
    """Where client id and secret go: into the form, a Basic header, or with everything else into JSON."""

    base_url_field: str | None = None
    """The field of the answer which says where the tenant's API is, where addresses are relative to that."""


class GoogleAuth(_Declared):
    """A Google service account's key file, acting as a user. Needs the extra `google`."""

    type: Literal["google"] = "google"
    key: str = "{key}"
    """The key file's text: JSON."""

    subject: str = "{identity}"
    """The user that it acts as."""

    scopes: tuple[str, ...]
    """What it asks for."""


Auth: TypeAlias = Annotated[HeaderAuth | BasicAuth | OAuth2Auth | GoogleAuth, Field(discriminator="type")]


# --- how pages follow one another ---


class _Pages(_Declared):
    more: Path | None = None
    """Whether there is another page: anything false ends the collection."""

    empty_ends: bool = False
    """Whether an empty page is the last one. Otherwise it is passed over, as an API that filters late gives many."""


class Single(_Declared):
    """One answer has it all."""

    type: Literal["single"] = "single"


class Token(_Pages):
    """The answer names the next page by a token, which goes into the next request as `param`.

    `alone` leaves everything else out of that request; `url` is its address where that differs. With `resume`, the
    token is kept with the stream's state, and the next run begins there; a token that is refused with one of
    the statuses `expired` makes way for the pointer.
    """

    type: Literal["token"] = "token"
    path: Path
    """Where the token is in an answer."""

    param: Param

    into: Into = None

    alone: bool = False
    """Whether the token replaces everything else."""

    url: str | None = None
    """The address of later pages, where it is another one."""

    resume: bool = False
    """Whether the next run begins at the last token."""

    expired: tuple[int, ...] = (400, 409, 410)
    """Statuses that say that a token of an earlier run is not known any longer."""


class Link(_Pages):
    """The answer links to the next page: at `path` in its body, else in its `Link` header as `rel="next"`.

    `repeat_ends` says that a link to the page it came with is the API's way of saying that there is no more.
    """

    type: Literal["link"] = "link"
    path: Path | None = None
    """Where the link is in an answer; in its `Link` header where this is not said."""

    repeat_ends: bool = False
    """Whether a link to the same page is the end."""


class _Counted(_Pages):
    param: Param

    into: Into = None

    size: int = Field(ge=1)
    """How many entries a page has at most."""

    size_param: str | None = None
    """Where that goes, where the API wants to be told."""

    total: Path | None = None
    """How many entries there are in all, where the answer says so."""

    short_ends: bool = False
    """Whether a page with fewer than `size` entries is the last one. Otherwise only an empty one is."""


class Offset(_Counted):
    """The next page begins after as many entries as there were so far."""

    type: Literal["offset"] = "offset"
    param: Param = "offset"


class PageNumber(_Counted):
    """Pages have numbers, from `start` on."""

    type: Literal["page"] = "page"
    param: Param = "page"
    start: int = 1
    """The number of the first page."""


class Keyset(_Pages):
    """The next page begins after the last entry, which is named by what it has at `path`. An empty page is the last.

    `path` has to be unique, an id rather than a time: what is equal to it is not asked for again.
    """

    type: Literal["keyset"] = "keyset"
    path: Path
    """What names an entry, such as its id."""

    param: Param

    into: Into = None


class Seek(_Pages):
    """The next page is asked for as the first one was, with the time of the last entry as `since`. Oldest first only.

    `path` is that time in an entry. A page with fewer than `size` entries is the last one. Where a whole page has one
    time, the pages of that time are numbered, by `param` and from `start` on.
    """

    type: Literal["seek"] = "seek"
    path: Path
    """The time of an entry."""

    size: int = Field(ge=1)
    """How many entries a page has at most."""

    size_param: str | None = None
    """Where that goes, where the API wants to be told."""

    param: str | None = None
    """Where the number of a page of one time goes."""

    start: int = 1
    """The number of the first such page."""

    into: Into = None


Paging: TypeAlias = Annotated[
    Single | Token | Link | Offset | PageNumber | Keyset | Seek,
    Field(discriminator="type"),
]


# --- the rest ---


class RateLimited(_Declared):
    """How the API says that it was asked too often: see `grove.http.RateLimit`."""

    reset_header: str | None = None
    """A header that says when to ask again, beside `Retry-After`."""

    form: Literal["epoch", "epoch_ms", "delta", "iso"] = "epoch"
    """How it says so: seconds or milliseconds since 1970, seconds from now, or an ISO 8601 moment."""

    remaining_header: str | None = None
    """A header that is 0 where a 403 means that the limit is reached."""

    statuses: tuple[int, ...] = (429,)
    """Statuses that say so."""

    default: float | None = None
    """Seconds to wait where an answer says nothing of it; otherwise a growing random time."""

    when: Path | None = None
    """Anything true at this path of an answer's body says so too."""


class FollowUp(_Declared):
    """A further request for each entry: `url` may use what `values` finds in the entry (JMESPath).

    The answer takes the entry's place, or goes into its field `into`. An entry whose answer has one of the statuses
    `missing` is left out, or kept as it is where there is a field to fill.
    """

    url: str
    """Its address."""

    values: dict[str, Path] = Field(default_factory=lambda: {"id": "id"})
    """What the entry gives to the templates, by name (JMESPath)."""

    params: dict[str, Any] = Field(default_factory=dict)
    """Its query."""

    path: Path = "@"
    """What of the answer counts."""

    next: Path | None = None
    """Where an answer links to more of the list at `path`."""

    into: str | None = None
    """The field of the entry that the answer goes into."""

    missing: tuple[int, ...] = (404,)
    """Statuses that say that there is nothing."""


class Source(_Declared):
    """One log API.

    In `url`, `{name}` is percent-encoded and `{+name}` is not, as in RFC 6570. `params` (the query), `headers` and
    `body` (sent as JSON) are templates all through; one that is nothing but `{name}` keeps the type of its value, and
    one whose value is missing is left out. Beside the fields of the document there are these variables:

    since, until    what to ask for: from the pointer less `lookback` to the start of the run less `delay`
    pointer         the stream's pointer as it is; missing on the first run
    category        the operation, but missing where that is "all"

    Times are written as `iso`, `iso_ms` or `iso_us` (2026-11-24T12:00:00Z, with milli- or microseconds), `epoch`,
    `epoch_ms` or `epoch_us` (since 1970), `date` (2026-11-24), or a pattern of `strftime`, in UTC. The time of
    `since` and `until` is the same for all pages of a run.

    A document's own `lookback` goes before the one declared here.
    """

    url: str
    """The address of the first page."""

    method: Literal["GET", "POST"] = "GET"
    """How pages are asked for."""

    params: dict[str, Any] = Field(default_factory=dict)
    """The query."""

    headers: dict[str, str] = Field(default_factory=dict)
    """Headers beside those of `auth`."""

    body: Any = None
    """What a POST sends, as JSON."""

    auth: Auth | tuple[Auth, ...] = ()
    """Credentials of type `header`, `basic`, `oauth2` or `google`; of several, the first whose fields are there."""

    paging: Paging = Field(default_factory=Single)
    """How pages follow one another: of type `single`, `token`, `link`, `offset`, `page`, `keyset` or `seek`."""

    pause: Seconds = 0
    """How long to wait before each page but the first, in seconds."""

    entries: Path = "@"
    """JMESPath to the list of entries in an answer."""

    entries_optional: bool = False
    """Whether an answer without `entries` is an empty page."""

    error: Path | None = None
    """Anything true at this path is an error, whatever the status."""

    empty_statuses: tuple[int, ...] = ()
    """Statuses that say that there is nothing, and no next page either."""

    select: Path | None = None
    """What becomes of each entry; null leaves it out."""

    keep: Path | None = None
    """Which entries are wanted, by anything true; the others are left out before anything else is asked about them."""

    follow_up: FollowUp | None = None
    """A further request for each entry."""

    unique: Path | None = None
    """What tells an entry from others, such as `[id, updated_at]`, where the rest of it changes from answer to answer.

    The whole entry counts where this is not said, or finds nothing.
    """

    rate_limit: RateLimited = Field(default_factory=RateLimited)
    """How the API says that it was asked too often."""

    retry_statuses: tuple[int, ...] = ()
    """Statuses, beside those that everybody tries again, that pass by themselves."""

    read_timeout: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Seconds of silence after which an answer is given up."""

    attempts: int = Field(default=5, ge=1)
    """How often a request is made before it has failed."""

    max_response_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    """How long an answer may be, unpacked, in bytes."""

    time_format: TimeFormat = "iso_ms"
    """How `since` and `until` are written."""

    pointer_format: TimeFormat | None = None
    """How a pointer is written that no entry has given yet; as `time_format` where this is not said."""

    exclusive: bool = False
    """Whether the API leaves out the entries at `since` itself, so that it has to be asked from just before."""

    first_run: Seconds = 7 * DAY
    """How far back the first run goes, in seconds."""

    delay: Seconds = 0
    """How long entries are given to arrive in before they are asked for, in seconds."""

    lookback: Seconds = 0
    """How far before the pointer to ask again for entries that arrive late, in seconds."""

    max_span: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How much may be asked for at once, in seconds."""

    retention: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How long the vendor keeps entries, in seconds: a pointer that is older is a gap, and reported."""

    gather: Annotated[int, Field(ge=1)] = 1000
    """Up to how many entries of small pages are saved together; 1 saves each page by itself.

    They are not kept waiting: what comes within a second, and is less than 4 MiB, is one object in the output, and one
    step of the stream.
    """

    trim: bool = False
    """Whether to leave out entries before `since` or after `until`, which the API does not filter exactly.

    Looks at entries as the API gives them. Entries that come only because `time_format` rounds `since` are left out
    in any case.
    """

    snapshot: bool = False
    """Whether each run delivers everything there is, such as a list of users: no pointer, no deduplication."""

    PARTS: ClassVar[dict[str, tuple[type[BaseModel], ...]]] = {
        "auth": (HeaderAuth, BasicAuth, OAuth2Auth, GoogleAuth),
        "paging": (Single, Token, Link, Offset, PageNumber, Keyset, Seek),
        "rate_limit": (RateLimited,),
        "follow_up": (FollowUp,),
    }
    """What the fields may be that have fields of their own."""

    @property
    def asks_since(self) -> bool:
        """Whether the API is asked for entries from a moment on."""
        return any("{since}" in str(part) for part in (self.url, self.params, self.headers, self.body))
