"""Contents that are unusual or wrong, as a client gets them."""

import gzip
import json
import zlib

import pytest
import requests

from grove.testing.practice import PracticeAPI
from grove.testing.practice_bodies import (
    Verbatim,
    changed,
    content,
    error_body,
    html,
    packed,
    recoded,
    substituted,
    typed,
    with_bom,
    with_entries,
)


@pytest.fixture
def api():
    with PracticeAPI([{"id": "1", "at": "2025-01-01", "text": "ü"}], token=None) as api:
        yield api


@pytest.fixture
def get(api):
    def ask():
        # Without the decoding that `requests` does by itself.
        answer = requests.get(api.url, timeout=5, stream=True, allow_redirects=False)
        return answer, answer.raw.read(decode_content=False)

    return ask


TRUE = '{"entries":[{"id":"1","at":"2025-01-01","text":"ü"}],"next_cursor":null}'.encode()


@pytest.mark.parametrize(
    ("fault", "body", "kind"),
    [
        (with_bom(), b"\xef\xbb\xbf" + TRUE, "application/json"),
        (recoded("utf-16"), TRUE.decode().encode("utf-16"), "application/json"),
        (recoded("latin-1", "iso-8859-1"), TRUE.decode().encode("latin-1"), "application/json; charset=iso-8859-1"),
        (typed("text/plain"), TRUE, "text/plain"),
        (typed(None), TRUE, None),
        (substituted(b"\xc3\xbc", b"\xff"), TRUE.replace(b"\xc3\xbc", b"\xff"), "application/json"),
        (changed(lambda body: body[:5]), TRUE[:5], "application/json"),
        (with_entries(None), b'{"entries":null,"next_cursor":null}', "application/json"),
        (with_entries({"a": [1]}), b'{"entries":{"a":[1]},"next_cursor":null}', "application/json"),
        (with_entries(...), b'{"next_cursor":null}', "application/json"),
        (html(), b"<!doctype html><title>Sign in</title><form>...</form>", "text/html; charset=utf-8"),
        (error_body(), b'{"ok":false,"error":"internal_error"}', "application/json"),
        (content(b"", "text/csv"), b"", "text/csv"),
    ],
)
def test_what_is_sent(api, get, fault, body, kind):
    api.fault(1, fault)
    answer, found = get()
    assert (answer.status_code, found, answer.headers.get("Content-Type")) == (200, body, kind)
    assert get()[1] == TRUE


@pytest.mark.parametrize(("how", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
@pytest.mark.parametrize("named", [None, "br"])
def test_packed(api, get, how, unpack, named):
    api.fault(1, packed(how, named))
    answer, found = get()
    assert answer.headers["Content-Encoding"] == (named or how)
    assert unpack(found) == TRUE


def test_entries_are_sent_as_they_say():
    odd = Verbatim({"at": "2025-01-01", "n": "NaN"}, b'{"at":"2025-01-01","n":1,"n":NaN}')
    with PracticeAPI([odd, {"at": "2025-01-02"}], token=None, ids=False) as api:
        answer = requests.get(api.url, timeout=5)
        report = api.compare([{"at": "2025-01-02"}, {"at": "2025-01-01", "n": "NaN"}])
    assert answer.content == b'{"entries":[{"at":"2025-01-01","n":1,"n":NaN},{"at":"2025-01-02"}],"next_cursor":null}'
    assert report.exact, report


def test_what_cannot_be_substituted_is_a_mistake_of_the_scenario():
    with pytest.raises(ValueError, match="no b'!'"), PracticeAPI(token=None) as api:
        api.fault(1, substituted(b"!", b"?"))
        assert requests.get(api.url, timeout=5).status_code == 500


def test_a_body_that_is_not_the_true_one_serves_nothing(api, get):
    api.fault(1, with_entries(None))
    get()
    assert api.served == 0
    assert json.loads(get()[1])["entries"] == api.offered
    assert api.served == 1
