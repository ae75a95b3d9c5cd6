"""`grove backfill`: exactly the span, whatever the source is like; resumed after `kill -9`; beside the live stream."""

import datetime
import signal
import subprocess
from typing import Any

import pytest

from grove.caches import Key
from grove.caches.local_lmdb import Handler as Cache
from grove.cli import cli
from grove.connectors.rest import times
from grove.testing.practice import Granularity, Order, Paging, PracticeAPI
from grove.testing.practice_faults import rate_limited, status
from grove.testing.practice_truth import compare
from tests.cli.here import run_here
from tests.cli.shell import Done, Shell

# Of 600 entries, a second apart, the span begins with one and ends before another.
FIRST, BEHIND = 150, 420


def here(shell: Shell, *arguments: str) -> Done:
    """`grove backfill` without a process of its own, where that makes no difference."""
    return run_here(cli, "backfill", *arguments, **shell.environment)


def span(api: PracticeAPI, first: int = FIRST, behind: int = BEHIND) -> tuple[str, str, str, str]:
    return "--since", api.offered[first]["at"], "--until", api.offered[behind]["at"]


def live_state(shell: Shell) -> dict[Key, str]:
    """What the cache holds beside backfills."""
    found = Cache(shell.root / "state").scan("")
    return {key: value for key, value in found if "backfill" not in key.pk}


def exact(api: PracticeAPI, shell: Shell, first: int = FIRST, behind: int = BEHIND) -> Any:
    report = compare(api.offered[first:behind], shell.delivered)
    return report if not report.exact else True


# --- exactly the span ---


@pytest.mark.parametrize("until", [True, False])
@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize(
    ("paging", "granularity"), [("cursor", "millisecond"), ("offset", "second"), ("next_link", "day")]
)
def test_exactly_the_span(shell: Shell, order: Order, paging: Paging, granularity: Granularity, until: bool) -> None:
    with PracticeAPI(600, order=order, paging=paging, granularity=granularity) as api:
        shell.collects(api, params={"since": "{since}", **({"until": "{until}"} if until else {})})
        done = here(shell, "practice", *span(api), "--json")
        assert done.code == 0, done.err
        assert (done.json["state"], done.json["stream"]["entries"]) == ("finished", 270)
        assert exact(api, shell) is True


def test_oldest_first_is_not_asked_beyond_the_end(shell: Shell) -> None:
    with PracticeAPI(2_000) as api:
        shell.collects(api)
        assert here(shell, "practice", *span(api, 0, 150)).code == 0
        assert exact(api, shell, 0, 150) is True
        # Two pages have it, and one or two behind them show that it is over.
        assert len(api.requests) <= 4


def test_a_format_that_knows_only_days_loses_nothing_of_the_last(shell: Shell) -> None:
    with PracticeAPI(600, granularity="day") as api:
        shell.collects(api, params={"since": "{since}", "until": "{until}"}, time_format="date")
        assert here(shell, "practice", *span(api)).code == 0
        asked = api.requests[0].query
        day = datetime.date.fromisoformat(api.offered[0]["at"][:10])
        assert (asked["since"], asked["until"]) == (f"{day}", f"{day + datetime.timedelta(days=1)}")
        assert exact(api, shell) is True


def test_late_and_tied_entries_are_of_the_past_too(shell: Shell) -> None:
    with PracticeAPI(600) as api:
        api.offer(20, late=300)
        api.offer(5, tied=True)
        moments = sorted(api.offered, key=lambda entry: str(entry["at"]))
        shell.collects(api, lookback=10)
        since, until = moments[200]["at"], moments[500]["at"]
        assert here(shell, "practice", "--since", since, "--until", until).code == 0
        expected = [entry for entry in api.offered if since <= entry["at"] < until]
        assert compare(expected, shell.delivered).exact


def test_without_an_end_it_goes_up_to_now(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api)
    done = here(shell, "practice", "--since", api.offered[200]["at"], "--json")
    assert done.json["stream"]["entries"] == 50
    assert abs(times.moment_of(done.json["until"]) or 0) > (times.moment_of(api.offered[-1]["at"]) or 0)
    # The same command is the same backfill, although it is later now.
    again = here(shell, "practice", "--since", api.offered[200]["at"], "--json")
    assert (again.json["until"], again.json["stream"]) == (done.json["until"], None)


@pytest.mark.parametrize(
    ("moment", "form", "expected"),
    [
        ("2026-11-05T12:00:00.5Z", "iso", "2026-11-05T12:00:01Z"),
        ("2026-11-05T12:00:00Z", "iso", "2026-11-05T12:00:00Z"),
        ("2026-11-05T12:00:00.000001Z", "iso_ms", "2026-11-05T12:00:00.001Z"),
        ("2026-12-31T00:00:00.000001Z", "date", "2027-01-01"),
        ("2026-11-05", "date", "2026-11-05"),
        ("1970-01-01T00:00:01.5Z", "epoch", 2),
        ("2026-11-05T12:34:00.1Z", "%Y-%m-%d %H:%M", "2026-11-05 12:35"),
    ],
)
def test_an_end_is_rounded_up(moment: str, form: str, expected: str | int) -> None:
    nanoseconds = times.moment_of(moment)
    assert nanoseconds is not None
    assert times.written_up(nanoseconds, form) == expected


# --- resumed ---


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize("request_number", [2, 3])
def test_it_goes_on_after_kill_9(shell: Shell, order: Order, request_number: int) -> None:
    with PracticeAPI(600, order=order) as api:
        shell.collects(api, params={"since": "{since}", "until": "{until}"}, gather=1)
        api.fault(request_number, rate_limited(60))
        process = shell.start("backfill", "practice", *span(api))
        wait_for(process, lambda: len(api.requests) == request_number and len(shell.delivered) > 0)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert 0 < len(shell.delivered) < 270
        assert shell.run("backfill", "--list", "--json").json[0]["state"] == "unfinished"
        done = shell.run("backfill", "practice", *span(api), "--json")
        assert (done.code, done.json["state"]) == (0, "finished"), done.err
        assert done.json["stream"]["entries"] <= 171
        assert exact(api, shell) is True


def test_it_is_stopped_by_a_signal_and_says_how_to_go_on(shell: Shell) -> None:
    with PracticeAPI(600) as api:
        shell.collects(api, gather=1)
        api.fault(3, rate_limited(60))
        process = shell.start("backfill", "practice", *span(api))
        wait_for(process, lambda: len(api.requests) == 3 and len(shell.delivered) > 0)
        process.terminate()
        out, _ = process.communicate(timeout=30)
        command = out.split("To go on: grove ")[1].split()
        assert shell.run(*command).code == 0
        assert exact(api, shell) is True


def test_a_failure_leaves_it_unfinished(shell: Shell) -> None:
    with PracticeAPI(600) as api:
        shell.collects(api, gather=1)
        api.fault(2, status(403))
        done = shell.run("backfill", "practice", *span(api))
        assert done.code == 1
        assert "100 entries delivered; failed. To go on: grove backfill practice --since" in done.out
        assert shell.run("backfill", "practice", *span(api)).code == 0
        assert exact(api, shell) is True


def test_what_is_delivered_is_not_delivered_again(shell: Shell) -> None:
    with PracticeAPI(600) as api:
        shell.collects(api)
        assert shell.run("backfill", "practice", *span(api)).code == 0
        asked = len(api.requests)
        done = shell.run("backfill", "practice", *span(api))
        assert done.code == 0
        assert "was delivered by" in done.out
        assert len(api.requests) == asked
        assert exact(api, shell) is True


def test_one_that_is_forgotten_can_be_collected_once_more(shell: Shell) -> None:
    with PracticeAPI(600) as api:
        shell.collects(api, lookback=20)
        assert shell.run("backfill", "practice", *span(api)).code == 0
        assert shell.run("backfill", "practice", *span(api), "--forget").code == 0
        assert [key for key, _ in Cache(shell.root / "state").scan("") if "backfill" in key.pk] == []
        done = shell.run("backfill", "practice", *span(api), "--forget")
        assert (done.code, "No such backfill" in done.err) == (2, True)
        assert shell.run("backfill", "practice", *span(api), "--json").json["stream"]["entries"] == 270
        assert len(shell.delivered) == 540


# --- beside what is live ---


def test_it_runs_beside_the_live_stream_and_moves_nothing_of_it(shell: Shell) -> None:
    with PracticeAPI(600) as api:
        shell.collects(api, gather=1)
        assert shell.run("run", "practice", "--limit", "100").code == 0
        before = live_state(shell)
        api.fault(2, rate_limited(60))
        process = shell.start("backfill", "practice", *span(api))
        wait_for(process, lambda: any("backfill" in key.pk for key, _ in Cache(shell.root / "state").scan("pointer")))
        assert live_state(shell) == before
        # Held as it is, it keeps no one from going on.
        assert shell.run("run", "practice").code == 0
        locked = shell.run("backfill", "practice", *span(api), "--json")
        assert (locked.code, locked.json["stream"]["outcome"]) == (75, "locked")
        refused = shell.run("backfill", "practice", *span(api), "--forget")
        assert refused.code == 1
        assert "This backfill is running." in refused.err
        process.kill()
        process.communicate()
        after = live_state(shell)
        assert shell.run("backfill", "practice", *span(api)).code == 0
        assert live_state(shell) == after
        assert compare([*api.offered, *api.offered[FIRST:BEHIND]], shell.delivered).exact


PROBE = """
from grove.connectors import CHRONOLOGICAL
from grove.connectors.rest import HeaderAuth, RestConnector, Source, Token

class Connector(RestConnector):
    CONNECTOR = "probe"
    POINTER_PATH = "at"
    LOG_ORDER = CHRONOLOGICAL
    STREAM_FIELDS = ("scope",)

    class Configuration(RestConnector.Configuration):
        url: str
        scope: str = "all"

    SOURCE = Source(
        url="{+url}",
        params={"since": "{since}"},
        auth=HeaderAuth(value="Bearer {key}"),
        entries="entries",
        paging=Token(path="next_cursor", param="cursor"),
    )
"""


def test_what_an_older_version_kept_stays_the_live_streams(shell: Shell) -> None:
    with PracticeAPI(600) as api:
        shell.plugin("probe", PROBE)
        shell.document("practice", connector="probe", url=api.url, key=api.token)
        cache = Cache(shell.root / "state")
        pointer = Key(f"pointer.{shell.config('practice').reference()}", "all")
        cache.set(*pointer, api.offered[500]["at"])
        done = shell.run("backfill", "practice", *span(api), "--json")
        assert (done.code, done.json["stream"]["entries"]) == (0, 270), done.err
        assert cache.get(*pointer) == api.offered[500]["at"]
        assert shell.run("run", "practice", "--json").json["streams"][0]["entries"] == 100


# --- what cannot be ---


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"snapshot": True, "params": {}}, "every run delivers the whole list, as it is at that moment."),
        ({"params": {}}, "its API takes no time to ask from."),
    ],
)
def test_a_source_without_a_past_is_refused(shell: Shell, api: PracticeAPI, fields: dict[str, Any], why: str) -> None:
    shell.collects(api, **fields)
    done = here(shell, "practice", *span(api, 10, 20))
    assert (done.code, api.requests) == (2, [])
    assert f"'practice' (http_json) cannot collect a past time: {why}" in " ".join(done.err.split())


def test_a_connector_that_declares_nothing_is_refused(shell: Shell) -> None:
    shell.document("beat")
    done = here(shell, "beat", "--since", "2026-01-01")
    assert done.code == 2
    assert "'beat' (local_heartbeat) cannot collect a past time: how its source is asked is not declared" in " ".join(
        done.err.split()
    )


def test_a_pointer_that_is_no_time_is_refused(shell: Shell, api: PracticeAPI) -> None:
    shell.collects(api, pointer_path="id")
    done = here(shell, "practice", *span(api, 10, 20))
    assert done.code == 1
    assert "has the pointer 'e-0000010', which is no time" in done.err
    assert shell.delivered == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "NAME and --since are needed"),
        (("practice",), "NAME and --since are needed"),
        (("practice", "--since", "soon"), "'soon' is no time"),
        (("practice", "--since", "5"), "'5' is no time"),
        (("practice", "--since", "2026-01-02", "--until", "2026-01-01"), "--since has to lie before --until"),
        (("practice", "--since", "2026-01-02", "--until", "2199-01-01"), "--until lies in the future"),
        (("practise", "--since", "2026-01-02"), "Did you mean 'practice'?"),
    ],
)
def test_wrong_usage(shell: Shell, api: PracticeAPI, arguments: tuple[str, ...], said: str) -> None:
    shell.collects(api)
    done = here(shell, *arguments)
    assert (done.code, said in done.err) == (2, True), done.err


def test_the_list(shell: Shell) -> None:
    assert here(shell, "--list").out == "No backfill was ever begun.\n"
    with PracticeAPI(600) as api:
        shell.collects(api)
        shell.collects(api, "other")
        assert here(shell, "practice", *span(api)).code == 0
        since, until = (api.offered[index]["at"].replace(".000Z", "Z") for index in (FIRST, BEHIND))
    found = here(shell, "--list", "--json").json
    finished = found[0].pop("finished")
    assert abs(datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(finished)).days == 0
    assert found == [
        {
            "name": "practice",
            "since": since,
            "until": until,
            "state": "finished",
            "command": f"grove backfill practice --since {since} --until {until}",
        }
    ]
    assert here(shell, "--list").out.splitlines()[1].split() == ["practice", since, until, "finished"]
    assert here(shell, "other", "--list", "--json").json == []


def wait_for(process: "subprocess.Popen[str]", ready: Any) -> None:
    """Return once `ready()`; a process that ends before is a failure."""
    while not ready():
        assert process.poll() is None, process.communicate()
