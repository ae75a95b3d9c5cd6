"""A connector without code: everything about its API stands in the configuration document.

An API that gives the oldest entry first, with a token for the next page:

    {
      "name": "acme-audit",
      "identity": "acme",
      "connector": "http_json",
      "key": "...",
      "url": "https://api.example.com/entries",
      "auth": {"type": "header", "value": "Bearer {key}"},
      "params": {"since": "{since}", "until": "{until}", "limit": 100},
      "entries": "entries",
      "paging": {"type": "token", "path": "next_cursor", "param": "cursor"},
      "pointer_path": "at",
      "order": "oldest_first"
    }

The newest first, with links in the `Link` header, a filter that knows only days, and entries that arrive up to
five minutes late:

    {
      "name": "acme-events",
      "identity": "acme",
      "connector": "http_json",
      "key": "...",
      "url": "https://api.example.com/entries",
      "auth": {"type": "header", "name": "Authorization", "value": "Bearer {key}"},
      "params": {"since": "{since}"},
      "time_format": "date",
      "trim": true,
      "lookback": 300,
      "entries": "entries",
      "paging": {"type": "link"},
      "pointer_path": "at",
      "order": "newest_first"
    }

Pages by offset, a field of the document's own in the request, less of each entry than the API gives, and errors that
come with status 200:

    {
      "name": "acme-users",
      "identity": "acme",
      "connector": "http_json",
      "key": "...",
      "page_size": 50,
      "url": "https://api.example.com/entries",
      "auth": {"type": "header", "value": "Bearer {key}"},
      "params": {"since": "{since}", "limit": "{page_size}"},
      "entries": "entries",
      "error": "error",
      "select": "{id: id, at: at, who: actor}",
      "paging": {"type": "offset", "size": 50},
      "pointer_path": "at",
      "order": "oldest_first"
    }

What needs no saying: a request has three minutes for all its attempts, of which there are five, after growing random
times or when the API says that it may be asked again; a wait of more than three minutes ends the run, and the daemon
goes on then. An answer may have 256 MiB, and unpack to 200 times its size. Links and redirects are followed on the same
scheme, host and port only, and credentials go nowhere else. A page that was asked for before, more than 100 in a row
that are empty or the same, and more than a million end the run with an error. HTTPS_PROXY, NO_PROXY and
REQUESTS_CA_BUNDLE count, `.netrc` does not. A token is kept until it runs out; where one is refused, another is asked
for, and where a secret from a store is refused, it is fetched again, once a run. The next page is fetched while the
last one is saved.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError

from grove.connectors.rest import CHRONOLOGICAL, REVERSE_CHRONOLOGICAL, RestConnector, Source, needed_by
from grove.connectors.rest.source import Path
from grove.connectors.rest.templates import names
from grove.exceptions import ConfigurationException
from grove.helpers import parsing
from grove.models import ConnectorConfig


class Connector(RestConnector):
    """Collects any JSON API whose pages, filters and credentials can be declared.

    Beside `pointer_path` and `order`, the document has the fields of `grove.connectors.rest.Source`, and whatever
    fields of its own its templates use.
    """

    CONNECTOR = "http_json"
    DECLARATIONS = (Source,)

    class Configuration(ConnectorConfig):
        """What a document says beside the declarations of its source."""

        pointer_path: Path = Field(min_length=1, description="JMESPath to the value that orders the entries.")
        order: Literal["oldest_first", "newest_first"] = Field(description="In which order the API gives them.")

    _source: Source | None = None

    @property
    def POINTER_PATH(self) -> str:  # type: ignore[override]
        """From the document."""
        return str(self.fields.pointer_path)

    @property
    def LOG_ORDER(self) -> str:  # type: ignore[override]
        """From the document."""
        return CHRONOLOGICAL if self.fields.order == "oldest_first" else REVERSE_CHRONOLOGICAL

    def source(self) -> Source:
        """What the document declares. ConfigurationException names every field that is wrong or unknown."""
        if self._source is None:
            given: dict[str, Any] = self.fields.model_extra or {}
            declared = {name: value for name, value in given.items() if name in Source.model_fields}
            try:
                self._source = Source.model_validate(declared)
            except ValidationError as err:
                raise ConfigurationException(
                    f"The configuration document {self.name!r} (http_json) cannot be used. "
                    f"{parsing.validation_error(err)}."
                ) from None
            self._refuse_unknown(given.keys() - declared.keys(), names(self._source.model_dump()))
        return self._source

    @classmethod
    def template_names(cls, document: Mapping[str, Any]) -> set[str]:
        """The fields of its own that a document uses in templates."""
        return names({name: part for name, part in document.items() if name in Source.model_fields})

    @classmethod
    def credentials(cls, document: Mapping[str, Any]) -> list[set[str]]:
        """Those that the document declares."""
        try:
            declared = Source.model_validate({name: document[name] for name in Source.model_fields if name in document})
        except ValidationError:
            return []
        return needed_by(declared.auth)

    def _refuse_unknown(self, fields: set[str], used: set[str]) -> None:
        problems = []
        for field in sorted(fields - used):
            close = difflib.get_close_matches(field, [*Source.model_fields, *self.Configuration.model_fields], 1)
            problems.append(f"{field}: nothing uses it" + (f"; did you mean {close[0]!r}?" if close else ""))
        if problems:
            raise ConfigurationException(
                f"The configuration document {self.name!r} (http_json) cannot be used. {'; '.join(problems)}."
            )
