"""The status page in a real browser: Chromium without a screen, driven by Playwright."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from grove.health import server as server_module
from grove.health.facts import Facts
from grove.helpers import clock
from grove.history import Counts, History, Hour, hour_of

pytest.importorskip("playwright", reason="the page is not tested: pip install playwright")

from playwright.sync_api import expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"phone": (360, 740), "desktop": (1280, 900)}
NASTY = '<img src=x onerror="window.hurt=1"></script><script>window.hurt=1</script>&amp;\'"`${1}'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("the page is not tested: install Debian's package chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def look(browser: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Opens the page in a window; what goes wrong in there fails the test."""
    monkeypatch.setattr(server_module, "FRESH", 0.0)
    opened, wrong = [], []

    def open_page(size: str = "desktop", scheme: str = "light") -> Any:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(server.url)
        expect(page.locator("#fresh")).not_to_be_empty()
        return page

    yield open_page
    for context in opened:
        context.close()
    assert wrong == []


def history(outcome: str = "succeeded", error: str = "", **more: Any) -> History:
    now = clock.now()
    hours = {hour_of(now) - past: Hour(past * 40 + 1, 3 if past % 7 == 3 else 0) for past in range(0, 24, 2)}
    began, ended = now - timedelta(seconds=62), now - timedelta(seconds=60)
    return History(began, ended, outcome, now - timedelta(days=3), error, Counts(2, 1234, 5, 1), hours=hours, **more)


def fill(board: Any) -> None:
    now = clock.now()
    pointer = (now - timedelta(minutes=3)).isoformat()
    board.add("okta-production", Facts(history(succeeded=now, delivered=now), pointer), now + timedelta(minutes=9))
    board.add("slack", Facts(history("failed", "The vendor refused the key.", failures=4)), now)
    board.add("a-name-that-is-much-longer-than-a-phone-is-wide-" * 3, expect={"newest_within": "2h"})
    board.add("quiet", Facts(history(), "17"), expect={"newest_within": 1, "entries_per_day": 10**9})
    board.add(NASTY, Facts(history("failed", NASTY, failures=1), NASTY), identity=NASTY)


def test_the_worst_comes_first_and_is_explained(look: Any, board: Any) -> None:
    fill(board)
    page = look()
    names = page.locator("details .name").all_text_contents()
    assert sorted(names[:2]) == sorted([NASTY, "slack"])
    assert names[-1] == "okta-production"
    assert "failed 4 times in a row: The vendor refused the key." in page.locator(".problem").all_text_contents()
    assert page.locator("#states li").all_text_contents() == ["2 failing", "1 stale", "1 new", "1 ok"]
    assert page.title() == "(!) Grove"


def test_what_streams_say_is_text(look: Any, board: Any) -> None:
    fill(board)
    page = look()
    page.locator("details").first.locator("summary").click()
    assert page.evaluate("window.hurt") is None
    assert page.locator("img, main script").count() == 0
    assert NASTY in page.locator(".name").all_text_contents()
    assert NASTY in page.locator("dd").all_text_contents()


def test_a_chart_for_every_stream(look: Any, board: Any) -> None:
    fill(board)
    page = look()
    charts = page.locator("svg.hours")
    assert charts.count() == 5
    last = charts.last
    assert last.locator(".bar").count() == 12
    assert last.locator(".none").count() == 12
    assert last.locator(".bad").count() == 1
    assert "failed runs in the last 24 hours" in last.get_attribute("aria-label")
    heights = [float(bar.get_attribute("height")) for bar in last.locator(".bar").all()]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] == 28


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_can_be_read(look: Any, board: Any, size: str, scheme: str, tmp_path: Path) -> None:
    fill(board)
    page = look(size, scheme)
    # Nothing is wider than the window, and text stands out from what is behind it.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    light = page.evaluate(
        """() => ['.name', '.of', 'details .state', '.problem', '.cell span'].map((selector) => {
            const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
            const bright = (text) => { const [r, g, b] = numbers(text).map((v) => (v /= 255) <= 0.04045
                ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const element = document.querySelector(selector);
            const [one, two] = [bright(getComputedStyle(element).color),
                bright(getComputedStyle(element.closest('details')).backgroundColor)].sort((a, b) => b - a);
            return (one + 0.05) / (two + 0.05);
        })"""
    )
    assert min(light) >= 4.5
    page.screenshot(path=tmp_path / f"{size}-{scheme}.png", full_page=True)


def test_it_refreshes_itself_and_keeps_what_is_open(look: Any, board: Any) -> None:
    board.add("one", Facts(history()))
    page = look()
    page.locator("summary").click()
    assert page.locator("dl").is_visible()
    board.add("two", Facts(history("failed", "no answer", failures=1)))
    page.evaluate("look()")
    expect(page.locator("details")).to_have_count(2)
    assert page.locator("details").all_text_contents()[0].startswith("two")
    assert page.locator("details[open] .name").text_content() == "one"
    board.views.pop(0)
    page.evaluate("look()")
    expect(page.locator("details")).to_have_count(1)


def test_search_and_more(look: Any, board: Any) -> None:
    for number in range(150):
        board.add(f"stream-{number:03}", Facts(history()))
    page = look()
    assert page.locator("details").count() == 100
    page.get_by_role("button", name="Show more (50 not shown)").click()
    expect(page.locator("details")).to_have_count(150)
    assert not page.locator("#more").is_visible()
    page.locator("#search").fill("STREAM-14")
    expect(page.locator("details")).to_have_count(10)
    page.locator("#search").fill("nothing like that")
    expect(page.locator("details")).to_have_count(0)
    assert page.locator("#none").text_content() == "No stream has that in its name."


def test_a_daemon_that_does_not_answer(look: Any, board: Any, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    board.add("one", Facts(history()))
    page = look()
    page.route("**/status.json*", lambda route: route.fulfill(status=200, body="[]"))
    page.evaluate("look()")
    page.wait_for_selector("#trouble:not([hidden])")
    assert page.locator("#trouble").text_content().startswith("The daemon does not answer since ")
    page.unroute("**/status.json*")
    page.evaluate("look()")
    page.wait_for_selector("#trouble", state="hidden")


def test_nothing_is_asked_of_anybody_else(browser: Any, server: Any) -> None:
    context = browser.new_context()
    asked: list[str] = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server.url)
    expect(page.locator("#fresh")).not_to_be_empty()
    context.close()
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []


def test_a_page_elsewhere_cannot_read_it(browser: Any, server: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(status=200, body="<p>hello</p>"))
    page.goto("http://evil.example/")
    failed = page.evaluate(f"fetch('{server.url}status.json').then(() => false, () => true)")
    context.close()
    assert failed
