import base64
import json
import logging
import sys
import threading
import urllib.parse
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from grove import logging as grove_logging
from grove.exceptions import ConfigurationException
from grove.logging import GroveFormatter, configure, forget_secrets, redact, register_secret

CANARY = 'cänary "5a1e"/+?&=\\ 0123456789'
CONTEXT = {"runtime": "test", "runtime_id": "1"}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers, root.level, threading.excepthook
    chatty = {name: logging.getLogger(name).level for name in grove_logging._CHATTY}
    yield
    forget_secrets()
    logging.captureWarnings(False)
    root.handlers, threading.excepthook = handlers, hook
    root.setLevel(level)
    for name, before in chatty.items():
        logging.getLogger(name).setLevel(before)


def record(message: Any = "Message.", *args: Any, **extra: Any) -> logging.LogRecord:
    exc_info = extra.pop("exc_info", None)
    return logging.getLogger("grove.test").makeRecord(
        "grove.test", logging.INFO, "/src/a.py", 7, message, args, exc_info, "function", extra
    )


def formatted(entry: logging.LogRecord) -> dict[str, Any]:
    line = GroveFormatter(CONTEXT).format(entry)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_shape() -> None:
    entry = record(stream="a", count=3)
    entry.created, entry.msecs = 1795472522.808, 808.0
    assert formatted(entry) == {
        "level": "INFO",
        "location": "/src/a.py:7",
        "message": "Message.",
        "timestamp": "2026-11-23 22:22:02,808+0000",
        "function": "function",
        "service": "grove",
        "detail": {"stream": "a", "count": 3},
        "context": CONTEXT,
    }


def test_detail_is_always_there() -> None:
    assert formatted(record())["detail"] == {}


def test_arguments_are_put_in() -> None:
    assert formatted(record("value %s of %d", "a", 3))["message"] == "value a of 3"


def test_wrong_arguments_do_not_cost_the_message() -> None:
    assert "value %s of %d" in formatted(record("value %s of %d", "a"))["message"]


def _failure() -> Any:
    try:
        raise ValueError("broken")
    except ValueError:
        return sys.exc_info()


def test_a_traceback_is_a_detail() -> None:
    detail = formatted(record(exc_info=_failure()))["detail"]
    assert "ValueError: broken" in detail["exception"]
    assert "test_logging.py" in detail["exception"]


def test_a_traceback_does_not_replace_what_was_said() -> None:
    detail = formatted(record(exc_info=_failure(), exception="in other words"))["detail"]
    assert detail["exception"] == "in other words"
    assert "ValueError: broken" in detail["traceback"]


class _Stubborn:
    def __str__(self) -> str:
        raise RuntimeError("no")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        2**70,
        "\ud800",
        float("nan"),
        {1: 2},
        {(1, 2): {3}},
        b"\xff",
        object(),
        _Stubborn(),
        CYCLE,
        ValueError("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_extra_becomes_a_line(value: Any) -> None:
    assert "value" in formatted(record(value=value))["detail"]


def test_control_characters_stay_in_their_line() -> None:
    line = GroveFormatter(CONTEXT).format(record("a\nb\x1b[31m", value="\r\n\u2028"))
    assert line.isprintable() or "\u2028" in line
    assert json.loads(line)["message"] == "a\nb\x1b[31m"


BASIC = base64.b64encode(f"user:{CANARY}".encode()).decode()
FORMS = {
    "raw": CANARY,
    "json": json.dumps(CANARY),
    "json, utf-8": json.dumps(CANARY, ensure_ascii=False),
    "repr": repr(CANARY),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "base64 for urls": base64.urlsafe_b64encode(CANARY.encode()).decode(),
    "url": urllib.parse.quote(CANARY),
    "url component": urllib.parse.quote(CANARY, safe=""),
    "form": urllib.parse.quote_plus(CANARY),
    "hex": CANARY.encode().hex(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["message", "argument", "extra", "nested", "key", "object", "traceback"])
def test_a_secret_is_taken_out(form: str, place: str) -> None:
    text = f"before {FORMS[form]} after"
    register_secret(CANARY)
    if place == "traceback":
        try:
            raise ValueError(text)
        except ValueError:
            entry = record(exc_info=sys.exc_info())
    else:
        entry = {
            "message": record(text),
            "argument": record("%s", text),
            "extra": record(value=text),
            "nested": record(value={"a": [{"b": text}]}),
            "key": record(value={text: 1}),
            "object": record(value=ValueError(text)),
        }[place]
    line = GroveFormatter(CONTEXT).format(entry)
    inside = FORMS[form].strip("\"'")
    assert inside not in line
    assert json.dumps(inside, ensure_ascii=False)[1:-1] not in line
    assert "before" in line
    assert "[redacted]" in line


@pytest.mark.parametrize("user", ["", "a", "ab", "abc"])
def test_a_basic_header_gives_nothing_away(user: str) -> None:
    register_secret("0123456789abcdef")
    header = base64.b64encode(f"{user}0123456789abcdef:rest".encode()).decode()
    left = redact(header).replace("[redacted]", "")
    assert len(left) < len(header) - 16


def test_a_number_can_be_a_secret() -> None:
    register_secret("123456789")
    detail = formatted(record(value=123456789, other=12))["detail"]
    assert detail == {"value": "[redacted]", "other": 12}


def test_what_is_too_short_is_left_alone() -> None:
    register_secret("a")
    register_secret("")
    assert redact("a cat") == "a cat"


def test_the_oldest_secrets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grove_logging, "_MOST_SECRETS", 2)
    for secret in ("first-one", "second-one", "first-one", "third-one"):
        register_secret(secret)
    assert redact("first-one second-one third-one") == "[redacted] second-one [redacted]"


def test_thousands_of_secrets_are_taken_out() -> None:
    secrets = [f"Secret/{number:05}+é" for number in range(5000)]
    for secret in secrets:
        register_secret(secret)
    assert redact(f"ab {secrets[0]} {secrets[4999]} cd") == "ab [redacted] [redacted] cd"
    assert redact(secrets[2500].encode().hex()) == "[redacted]"
    assert redact("nothing of that kind") == "nothing of that kind"


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    register_secret("abcd-1234")
    register_secret("1234-wxyz-and-more")
    assert redact("(abcd-1234-wxyz-and-more)") == "([redacted])"


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_other_libraries_and_warnings_are_captured(capsys: pytest.CaptureFixture[str]) -> None:
    configure(CONTEXT)
    logging.getLogger("some.plugin").warning("Careful.")
    logging.getLogger("some.plugin").debug("Not shown.")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("Old.", DeprecationWarning, stacklevel=1)
    first, second = lines(capsys)
    assert (first["level"], first["message"]) == ("WARNING", "Careful.")
    assert "Old." in second["message"]


def test_the_level_comes_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    configure(CONTEXT)
    logging.getLogger("grove.x").debug("Shown.")
    # They log requests with their headers.
    logging.getLogger("urllib3.connectionpool").debug("GET /?token=x")
    assert [line["message"] for line in lines(capsys)] == ["Shown."]


def test_an_unknown_level_is_refused_and_can_be_logged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(ConfigurationException, match="LOG_LEVEL is 'LOUD'"):
        configure(CONTEXT)
    logging.getLogger("grove.x").critical("Wrong.")
    assert [line["message"] for line in lines(capsys)] == ["Wrong."]


def test_a_thread_that_fails_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure(CONTEXT)

    def fail() -> None:
        raise ValueError("broken")

    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    (line,) = lines(capsys)
    assert line["detail"]["thread_name"] == "worker"
    assert "ValueError: broken" in line["detail"]["exception"]


def test_nothing_is_formatted_where_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    configure(CONTEXT)
    logging.getLogger("grove.x").debug("%s", _Stubborn(), extra={"value": _Stubborn()})
    assert capsys.readouterr().err == ""


def test_a_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    configure(CONTEXT)

    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(Closed())
    logging.getLogger("grove.x").error("Unheard.")
    assert capsys.readouterr().err == ""
