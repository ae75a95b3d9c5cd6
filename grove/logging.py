"""Logs as one JSON object per line on stderr, with credentials taken out."""

import base64
import json
import logging
import os
import re
import sys
import threading
import time
import urllib.parse
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import orjson

from grove.exceptions import ConfigurationException
from grove.helpers import turns
from grove.helpers.needles import SHORTEST, Needles

__all__ = ["GroveFormatter", "configure", "forget_secrets", "redact", "register_secret"]

SERVICE = "grove"
REDACTED = "[redacted]"

# What is shorter occurs in ordinary text, and taking it out would leave nothing to read.
_SHORTEST_SECRET = SHORTEST
# A secret store may issue new credentials for every run; the oldest are forgotten. Each takes 2 to 3 KB.
_MOST_SECRETS = 20_000
# Libraries that show requests, headers and all, at DEBUG.
_CHATTY = ("boto3", "botocore", "requests", "urllib3", "s3transfer")

# What the logging module itself puts on a record; anything else is an extra.
_STANDARD = frozenset({*logging.makeLogRecord({}).__dict__, "asctime", "message", "taskName"})


class _Secrets:
    """The credentials seen so far, in every form that they are likely to take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._forms = Needles()
        # The same, as they are once a text has become part of a JSON line.
        self._line_forms = Needles()

    def add(self, secret: str) -> None:
        if len(secret) < _SHORTEST_SECRET:
            return
        with self._lock:
            if secret in self._known:
                self._known.move_to_end(secret)
                return
            forms = self._known[secret] = frozenset(_forms(secret))
            self._forms.add(forms)
            self._line_forms.add(_on_a_line(forms))
            if len(self._known) > _MOST_SECRETS:
                _, oldest = self._known.popitem(last=False)
                self._forms.discard(oldest)
                self._line_forms.discard(_on_a_line(oldest))

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
            self._forms, self._line_forms = Needles(), Needles()

    def found(self, line: str) -> bool:
        return self._line_forms.within(line)

    def redact(self, text: str) -> str:
        spans = self._forms.spans(text)
        for start, end in reversed(spans):
            text = text[:start] + REDACTED + text[end:]
        return text


def _on_a_line(forms: frozenset[str]) -> set[str]:
    return {*forms, *map(_escaped, forms)}


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _forms(secret: str) -> Iterator[str]:
    data = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield _escaped(secret)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    for quoted in (
        urllib.parse.quote(data, safe=""),
        urllib.parse.quote(data),
        urllib.parse.quote_plus(data),
    ):
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda match: match.group().lower(), quoted)
    yield data.hex()
    yield data.hex().upper()
    # Within a longer base64 text (a Basic header, say) a secret has one of three alignments; only the
    # characters that depend on nothing but the secret are looked for.
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + data).decode()
        start = (0, 2, 3)[offset]
        end = (len(data) + offset) * 8 // 6
        inner = encoded[start:end]
        if len(inner) >= _SHORTEST_SECRET:
            yield inner
            yield inner.translate(str.maketrans("+/", "-_"))
    # A whole base64 text, padding included.
    yield base64.b64encode(data).decode()
    yield base64.urlsafe_b64encode(data).decode()


_secrets = _Secrets()


def register_secret(secret: str) -> None:
    """Take `secret` out of every later log line: as it is, in base64 or hex, and escaped for URLs or JSON."""
    _secrets.add(secret)


def forget_secrets() -> None:
    """Forget every registered secret."""
    _secrets.clear()


def redact(text: str) -> str:
    """`text` without the registered secrets."""
    return _secrets.redact(text)


class GroveFormatter(logging.Formatter):
    """Formats a record as one line of JSON; `context` describes the runtime and goes into every line."""

    def __init__(self, context: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context = context

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, its extras and any traceback under `detail`."""
        fields = {
            "level": record.levelname,
            "location": f"{record.pathname}:{record.lineno}",
            "message": _message(record),
            "timestamp": self.formatTime(record),
            "function": record.funcName,
            "service": SERVICE,
            "detail": self._detail(record),
            "context": self.context,
        }
        line = _dumps(fields)
        if _secrets.found(line):
            line = _dumps(_redacted(fields))
        return line

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """UTC, to the millisecond: "2026-11-23 22:22:02,808+0000"."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        return f"{stamp},{int(record.msecs):03d}+0000"

    def _detail(self, record: logging.LogRecord) -> dict[str, Any]:
        detail = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            # A call site may say in its own words what happened.
            name = "traceback" if "exception" in detail else "exception"
            detail[name] = self.formatException(record.exc_info)
        if record.stack_info:
            detail["stack"] = self.formatStack(record.stack_info)
        return detail


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # Wrong arguments must not cost the message.
        return f"{record.msg} (its arguments do not fit)"


def _dumps(fields: Any) -> str:
    try:
        return orjson.dumps(fields, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
    except (TypeError, ValueError, RecursionError):
        # Integers beyond 64 bits, lone surrogates, odd keys, cycles.
        return orjson.dumps(_plain(fields, 0)).decode()


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} without text>"


def _plain(value: Any, depth: int) -> Any:
    if depth > 20:
        return "..."
    if isinstance(value, dict):
        return {_plain_text(name): _plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    if value is None or isinstance(value, bool | float):
        return value
    return _plain_text(value)


def _plain_text(value: Any) -> str:
    return _text(value).encode("utf-8", "backslashreplace").decode()


def _redacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {redact(_text(name)): _redacted(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    text = _text(value)
    clean = redact(text)
    return value if clean == text and isinstance(value, int | float) else clean


class _Handler(logging.StreamHandler[Any]):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + self.terminator
            # A character takes up to four bytes.
            with turns.turn(turns.STDERR, 4 * len(line)) as torn:
                self.stream.write(self.terminator + line if torn else line)
                self.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        # The standard way prints a traceback with the record's arguments. A closed stderr is no reason to
        # stop.
        pass


def configure(context: dict[str, Any], level: str | None = None) -> None:
    """Send the logs of this process, third-party libraries included, to stderr as JSON.

    `level` comes from LOG_LEVEL if not given, and is INFO without either. ConfigurationException where
    there is no such level.
    """
    name = level or os.environ.get("LOG_LEVEL") or os.environ.get("POWERTOOLS_LOG_LEVEL") or "INFO"
    number = logging.getLevelNamesMapping().get(name.strip().upper())
    handler = _Handler(sys.stderr)
    handler.setFormatter(GroveFormatter(context))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number or logging.INFO)
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(root.level, logging.INFO))
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed
    # Only now: the error is to be logged like any other.
    if number is None:
        raise ConfigurationException(f"LOG_LEVEL is {name!r}; use DEBUG, INFO, WARNING, ERROR or CRITICAL.")


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return
    logging.getLogger(SERVICE).error(
        "A thread ended with an error that nothing handled.",
        exc_info=(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback),
        extra={"thread_name": args.thread.name if args.thread else None},
    )
