"""`grove check`: one page of a live source, as a first run would get it; nothing is written anywhere."""

from __future__ import annotations

import difflib
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click

from grove.cli._documents import choose, complete_documents, problems_of
from grove.cli._terminal import Finding, Progress, findings, json_option, print_json, printable, quietly, span, styled

if TYPE_CHECKING:
    from grove.configs import Problem
    from grove.connectors import BaseConnector
    from grove.models import ConnectorConfig
    from grove.runtime import Handlers

_LIMITS = re.compile(r"rate-?limit|retry-after|^x-rate", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?|\d{10,19}(\.\d+)?")
_UNANSWERED = (
    "Check the address, and whether this host gets there: its proxy settings are among those of `grove doctor`."
)
# Characters of a text that a masked sample shows, and how deep it goes into lists.
_SHOWN = 2
_DEEPEST = 12


@dataclass(slots=True)
class _Result:
    """What was found out about one stream. `wrong` says that it is the document, not the source."""

    name: str
    config: ConnectorConfig | None = None
    findings: list[Finding] = field(default_factory=list)
    wrong: bool = False
    entries: int | None = None
    more: bool | None = None
    first_pointer: str | None = None
    seconds: float | None = None
    limits: dict[str, str] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    sample: Any = None

    def add(self, check: str, status: str, message: str, help: str = "") -> None:
        self.findings.append(Finding(check, status, message, help))

    @property
    def failed(self) -> bool:
        return any(finding.status == "fail" for finding in self.findings)


@click.command(
    epilog="Exit codes: 0 the source gives entries, or has none; 1 it does not; 2 wrong usage; 78 a document is wrong."
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_documents)
@click.option("--show", is_flag=True, help="Show the first entry, its texts masked.")
@json_option
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], show: bool, as_json: bool) -> int:
    """Ask a source for one page, and say what came.

    Credentials are fetched, and the page is asked for and read as a first run would. The stream's state is neither
    read nor changed, and nothing is delivered.
    """
    from grove.cli._rehearsal import rehearsal
    from grove.oneshot import EXIT_CONFIGURATION, EXIT_FAILED, EXIT_OK
    from grove.runtime import Settings, load_documents

    quietly(ctx)
    settings = Settings.read()
    documents = load_documents(settings)
    wrong = {name: problems_of(documents, name) for name in dict.fromkeys(names)}
    chosen = {name: None if problems else choose(documents, [name])[0] for name, problems in wrong.items()}
    handlers, _ = rehearsal(settings, afresh=True)
    results = []
    for name, config in chosen.items():
        if config is None:
            results.append(_unusable(name, wrong[name]))
        else:
            progress = Progress()
            progress.show(f"Asking the source of {name} ...")
            try:
                results.append(_checked(config, handlers))
            finally:
                progress.clear()
        if not as_json:
            _show(results[-1], show)
    if as_json:
        print_json([_facts(result, show) for result in results])
    if any(result.wrong for result in results):
        return EXIT_CONFIGURATION
    return EXIT_FAILED if any(result.failed for result in results) else EXIT_OK


def _unusable(name: str, problems: Sequence[Problem]) -> _Result:
    result = _Result(name, wrong=True)
    for problem in problems:
        result.add("document", "fail", f"{problem.place}: {problem.message}", problem.help)
    return result


# --- asking ---


def _checked(config: ConnectorConfig, handlers: Handlers) -> _Result:
    from grove.exceptions import ConfigurationException, ConnectorMissingException, GroveException
    from grove.runtime import prepare, runtime_information

    result = _Result(config.name, config)
    try:
        connector = prepare(config, runtime_information(), handlers, lambda connector: True)
    except (ConfigurationException, ConnectorMissingException) as err:
        result.wrong = True
        result.add("document", "fail", str(err), "See `grove validate`.")
        return result
    except GroveException as err:
        result.add("credentials", "fail", str(err), "Correct `secrets` in the document, or what its store holds.")
        return result
    assert connector is not None
    result.add("document", "ok", f"{config.connector}, identity {config.identity}, operation {config.operation}")
    _tell_credentials(result, config)
    page = _Page(connector)
    started = time.monotonic()
    with _repeated_requests(result.waits):
        connector.run()
    result.seconds = round(time.monotonic() - started, 3)
    _judge(result, connector, page)
    return result


class _Page:
    """The first page that `connector` wants to save: it is taken from it, and its run ends there."""

    def __init__(self, connector: BaseConnector) -> None:
        from grove.connectors.rest import RestConnector

        self.entries: list[Any] | None = None
        self.more: bool | None = None
        self.response: Any = None
        connector.save = self._take  # type: ignore[method-assign]
        connector.process_and_write = self._take  # type: ignore[method-assign]
        if isinstance(connector, RestConnector):
            self._prepare, self._fetch = connector.prepare, connector._fetch
            connector.prepare = self._note  # type: ignore[method-assign]
            connector._fetch = self._without_more  # type: ignore[method-assign]

    def _take(self, entries: list[Any], cursor: str | None = None) -> None:
        from grove.exceptions import StoppedError

        self.entries = list(entries)
        raise StoppedError("One page is enough.")

    def _note(self, entries: list[Any], response: Any) -> list[Any]:
        if self.response is None:
            self.response = response
        return self._prepare(entries, response)

    def _without_more(self, source: Any, walk: Any, client: Any, request: Any) -> Any:
        page = self._fetch(source, walk, client, request)
        self.more = page.following is not None
        # The next page would be asked for while this one is looked at.
        return replace(page, following=None)


@contextmanager
def _repeated_requests(waits: list[str]) -> Iterator[None]:
    """Note in `waits` why requests had to be made again, and how long that was waited for."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            facts = record.__dict__
            if facts.get("event") == "request_repeated":
                waits.append(f"{facts['reason']} Asked again after {span(facts['wait'])}.")

    logger, handler = logging.getLogger("grove.http"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


# --- judging ---


def _tell_credentials(result: _Result, config: ConnectorConfig) -> None:
    if config.secrets:
        result.add("credentials", "ok", f"{', '.join(sorted(config.secrets))}: fetched from the secret store")
    elif config.key:
        result.add("credentials", "ok", "key: in the document")
    else:
        result.add("credentials", "skip", "the document names none")


def _judge(result: _Result, connector: BaseConnector, page: _Page) -> None:
    from grove.exceptions import ConfigurationException, RequestFailedException
    from grove.logging import redact

    err = connector.failure
    if page.entries is None and err is not None:
        if isinstance(err, ConfigurationException):
            result.wrong = True
            result.add("document", "fail", redact(str(err)), "See `grove validate`.")
        else:
            unanswered = isinstance(err, RequestFailedException) and err.status is None
            result.add("request", "fail", redact(str(err) or type(err).__name__), _UNANSWERED if unanswered else "")
        return
    if page.response is not None:
        response = page.response
        result.limits = {name: value for name, value in response.headers.items() if _LIMITS.search(name)}
        size = f"{len(response.body):,} bytes"
        result.add("request", "ok", f"answered status {response.status} with {size}, in {span(result.seconds or 0.0)}")
    for wait in result.waits:
        result.add("waits", "warn", wait)
    if result.limits:
        limits = ", ".join(f"{name}: {value}" for name, value in result.limits.items())
        result.add("limits", "ok", limits)
    result.entries, result.more = len(page.entries or []), page.more
    more = ", and there are more pages" if page.more else ""
    result.add("entries", "ok", f"{result.entries:,} in this page{more}")
    if page.entries:
        _judge_pointers(result, connector, page.entries)
        result.sample = page.entries[0]
    else:
        result.add("pointer", "skip", "no entry to look for it in")


def _judge_pointers(result: _Result, connector: BaseConnector, entries: list[Any]) -> None:
    from grove.connectors.rest import RestConnector

    if isinstance(connector, RestConnector) and connector.source().snapshot:
        result.add("pointer", "skip", "every run delivers the whole list")
        return
    pointers = connector._pointer_path().pointers(entries)
    found = [pointer for pointer in pointers if pointer is not None]
    path = connector.POINTER_PATH
    if not found:
        result.wrong = True
        result.add("pointer", "fail", f"none of the entries has a value at {path!r}", _better_path(path, entries[0]))
        return
    result.first_pointer = pointers[0]
    if len(found) < len(entries):
        result.add(
            "pointer",
            "warn",
            f"{path} = {found[0]}, but {len(entries) - len(found)} of the entries have none",
            "They will be set aside in `quarantine`.",
        )
    else:
        result.add("pointer", "ok", f"{path} = {found[0]}")
    _judge_order(result, connector, found)


def _judge_order(result: _Result, connector: BaseConnector, pointers: list[str]) -> None:
    from grove import _core
    from grove.constants import CHRONOLOGICAL

    ranks = [_core.rank(pointer) for pointer in pointers]
    first, last = ranks[0], ranks[-1]
    if first is None or last is None or first[0] != last[0] or first == last:
        return
    found = "oldest first" if first < last else "newest first"
    declared = "oldest first" if connector.LOG_ORDER == CHRONOLOGICAL else "newest first"
    if found == declared:
        result.add("order", "ok", declared)
        return
    what = "`order` in the document" if connector.CONNECTOR == "http_json" else "LOG_ORDER of the connector"
    result.add("order", "warn", f"declared {declared}, but this page is {found}", f"Correct {what}.")


def _better_path(path: str, entry: Any) -> str:
    """What may be meant instead of a pointer path that leads nowhere in `entry`."""
    paths = dict(_paths(entry, ""))
    times = [name for name, value in paths.items() if _TIME.fullmatch(str(value))]
    near = difflib.get_close_matches(path, paths, n=1, cutoff=0.6)
    guess = near or times[:1]
    hint = f"Did you mean {guess[0]!r}? " if guess else ""
    return f"{hint}The first entry has: {', '.join(list(paths)[:20])}."


def _paths(value: Any, above: str) -> Iterator[tuple[str, Any]]:
    """The path and value of everything in objects that is neither object nor list."""
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name))
        path = above + (str(name) if plain else json.dumps(str(name)))
        if isinstance(item, dict):
            yield from _paths(item, f"{path}.")
        elif not isinstance(item, list):
            yield path, item


# --- telling ---


def _facts(result: _Result, show: bool) -> dict[str, Any]:
    facts = {
        "name": result.name,
        "connector": result.config.connector if result.config else None,
        "identity": result.config.identity if result.config else None,
        "ok": not result.failed,
        "entries": result.entries,
        "more": result.more,
        "first_pointer": result.first_pointer,
        "seconds": result.seconds,
        "limits": result.limits,
        "checks": [finding.facts() for finding in result.findings],
    }
    if show:
        facts["sample"] = masked(result.sample)
    return facts


def _show(result: _Result, show: bool) -> None:
    click.echo(styled(result.name, bold=True))
    click.echo("\n".join(findings(result.findings, "  ")))
    if show and result.sample is not None:
        click.echo("\nThe first entry, its texts masked:\n")
        lines = json.dumps(masked(result.sample), indent=2, ensure_ascii=False).split("\n")
        click.echo("\n".join(map(printable, lines)))
    if not result.failed:
        click.echo(f"Next: grove run {result.name} --dry-run")


def masked(value: Any, depth: int = 0) -> Any:
    """`value` with the beginning of each text only, but for times; what it is made of stays."""
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {name: masked(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item, depth + 1) for item in value[:3]]
    if isinstance(value, str) and not _TIME.fullmatch(value) and value:
        return f"{value[:_SHOWN]}***" if len(value) > 2 * _SHOWN else "***"
    return value
