"""The page of a flame graph, in a browser: it zooms, searches and turns, asks for nothing, and names in it are only names."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, chromium
from profiles import HOSTILE, ROWS, TOTAL, Row, hostile_rows, profile_of
from readers import speedscope as speedscope_reader
from sonde.exporters.profiles.speedscope import speedscope
from sonde.records.frames import Frame
from sonde.records.profile import Profile
from sonde.views.flame.html import html
from sonde_build.compilers import BuildError

pytestmark = [
    pytest.mark.host_only,
    pytest.mark.skipif(chromium() is None, reason="no chromium is on PATH: tools/setup installs Debian's"),
]

READY = "document.documentElement.dataset.ready === 'yes'"
MATCHED = "document.getElementById('matched').textContent"
DETAILS = "document.getElementById('details').innerText.replace(/\\n/g, ' ')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Page:
    browser.requests.clear()
    browser.errors.clear()
    browser.resize(1400, 900)
    browser.darken(is_dark=False)
    return Page(browser, tmp_path)


class Page:
    """A flame graph's page, as a person uses it."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.browser, self.path = browser, folder / "x.html"

    def show(self, profile: Profile) -> Page:
        self.path.write_bytes(html(profile))
        self.browser.open(self.path, ready=READY)
        return self

    def box(self, name: str) -> tuple[float, float, float]:
        """Give a box's middle, and its width, once nothing moves any more."""
        find = f"[...document.querySelectorAll('g.frame')].find((each) => each.getAttribute('name') === {name!r})"
        rectangle = f"(() => {{ const r = {find}.querySelector('rect').getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.width]; }})()"
        self.browser.wait(f"{find} !== undefined")
        before: list[float] = []
        for _ in range(200):
            found = self.browser.evaluate(
                f"new Promise((done) => requestAnimationFrame(() => setTimeout(() => done({rectangle}), 30)))"
            )
            if found == before and found[2] > 0:
                break
            before = found
        return (found[0], found[1], found[2])

    def names(self) -> set[str]:
        found = self.browser.evaluate(
            "[...document.querySelectorAll('g.frame')].map((each) => each.getAttribute('name'))"
        )
        return set(found)

    def wait_matched(self, words: str) -> None:
        """Wait until so much is matched: who types slowly is told of what is typed so far."""
        self.browser.wait(f"{MATCHED} === {words!r}")

    def type(self, text: str) -> None:
        self.browser.key("/")
        for letter in text:
            self.browser.key(letter)


def test_everything_is_in_the_file(page: Page) -> None:
    page.show(profile_of())
    assert [page.path.as_uri()] == page.browser.requests
    assert [] == page.browser.errors
    text = page.browser.evaluate("document.body.innerText")
    for words in (
        "sonde profile cpu",
        "-- make -j2 check",
        "build-17",
        "10.0 s",
        "150 samples",
        "at 99 Hz",
        "lost 2",
    ):
        assert words in text
    assert "seen 159 = aggregated 150 + filtered 7 + lost 2 (skipped 2)" in text
    assert "broken off 7.3 %: python3.11 7.3 % (built without frame pointers" in text


def test_boxes_are_as_wide_as_their_weight(page: Page) -> None:
    page.show(profile_of())
    _, _, all_ = page.box("all")
    _, _, seventy = page.box("seventy")
    assert all_ * 70 / TOTAL == pytest.approx(seventy, abs=1)


def test_the_first_picture_is_there_at_once(page: Page) -> None:
    """Whoever takes a screenshot when the page is loaded gets all of it, and no boxes on their way."""
    page.show(profile_of())
    width = "document.querySelector('g.frame rect').getBoundingClientRect().width"
    assert page.browser.evaluate(width) == pytest.approx(page.box("all")[2], abs=1)


def test_a_click_zooms_and_escape_goes_back(page: Page) -> None:
    page.show(profile_of())
    _, _, all_ = page.box("all")
    x, y, narrow = page.box("twenty(int)")
    page.browser.click(x, y)
    _, _, wide = page.box("twenty(int)")
    assert narrow < all_ / 4
    assert all_ == pytest.approx(wide, abs=1)
    assert "seventy" not in page.names()
    assert "less(int, int)" in page.names()
    assert not page.browser.evaluate("document.getElementById('reset').disabled")
    page.browser.key("Escape")
    assert narrow == pytest.approx(page.box("twenty(int)")[2], abs=1)
    assert "seventy" in page.names()


def test_search_tells_the_share_of_what_matches(page: Page) -> None:
    """Functions on the stacks of other matches count once: 70 and 20, of 150; and 70 of main's 100."""
    page.show(profile_of())
    page.type("SEVENTY|^(twenty|less)")
    page.wait_matched("60.0 % matched")
    fills = page.browser.evaluate(
        "[...document.querySelectorAll('g.frame')].filter((each) => each.querySelector('rect').getAttribute('fill') === '#d916e0').map((each) => each.getAttribute('name'))"
    )
    assert {"seventy", "twenty(int)", "less(int, int)"} == set(fills)
    page.browser.key("Escape")
    page.browser.wait(f"{MATCHED} === ''")


def test_search_tells_the_share_of_what_is_zoomed_to(page: Page) -> None:
    page.show(profile_of())
    page.browser.click(*page.box("main")[:2])
    page.type("seventy")
    page.wait_matched("46.7 % matched (70.0 % of this)")


def test_a_broken_pattern_is_searched_for_as_text(page: Page) -> None:
    page.show(profile_of())
    page.type("twenty(")
    page.wait_matched("13.3 % matched")
    assert [] == page.browser.errors


def test_a_colour_of_the_legend_finds_its_kind(page: Page) -> None:
    page.show(profile_of())
    page.browser.evaluate("document.querySelector('.legend [data-kind=k]').click()")
    page.wait_matched("10.0 % matched")
    page.browser.evaluate("document.querySelector('.legend [data-kind=k]').click()")
    page.browser.wait(f"{MATCHED} === ''")


def test_the_page_turns_to_an_icicle_and_back(page: Page) -> None:
    page.show(profile_of())
    assert page.box("all")[1] > page.box("work")[1] > page.box("main")[1]
    page.browser.key("i")
    assert page.box("all")[1] < page.box("work")[1] < page.box("main")[1]
    page.browser.evaluate("document.getElementById('turn').click()")
    assert page.box("all")[1] > page.box("main")[1]


def test_callers_are_what_is_seen_first_of_a_deep_stack(page: Page) -> None:
    page.show(profile_of([(1, "deep", [Frame(f"f{number}") for number in range(120)], 1)]))
    scrolled = "(({scrollTop: top, scrollHeight: all, clientHeight: seen}) => [top, all - seen])(document.querySelector('main'))"
    top, most = page.browser.evaluate(scrolled)
    assert top == pytest.approx(most, abs=1)
    assert most > 500
    page.browser.key("i")
    assert 0 == page.browser.evaluate(scrolled)[0]


def test_hovering_tells_what_a_box_is(page: Page) -> None:
    page.show(profile_of())
    x, y, _ = page.box("seventy")
    page.browser.hover(x, y)
    words = "seventy 70 samples, 46.7 % · its own 46.7 % native · /srv/bin/work work.c:12"
    assert words == page.browser.wait(f"{DETAILS}.startsWith('seventy') && {DETAILS}")
    assert "work.c:12" in page.browser.evaluate("document.getElementById('tip').innerText")


def test_keys_walk_and_zoom(page: Page) -> None:
    page.show(profile_of())
    for _ in range(4):
        page.browser.key("ArrowUp")
    assert page.browser.evaluate(DETAILS).startswith("seventy ")
    page.browser.key("ArrowRight")
    assert page.browser.evaluate(DETAILS).startswith("twenty(int) ")
    page.browser.key("Enter")
    assert page.box("all")[2] == pytest.approx(page.box("twenty(int)")[2], abs=1)
    page.browser.key("ArrowDown")
    assert page.browser.evaluate(DETAILS).startswith("main ")


def test_time_is_told_as_time(page: Page) -> None:
    page.show(profile_of(weight="blocked_ns"))
    page.browser.hover(*page.box("seventy")[:2])
    page.browser.wait(f"{DETAILS}.startsWith('seventy 70 ms, 46.7 %')")


def test_names_cannot_break_out(page: Page) -> None:
    """A process, a function or a file may be called anything; the page's own policy would stop what got out."""
    page.show(profile_of(hostile_rows()))
    for name in HOSTILE[:2]:
        assert name in page.names()
        page.browser.hover(*page.box(name)[:2])
    page.type("img")
    assert page.browser.wait(MATCHED)
    assert [] == page.browser.errors
    assert [page.path.as_uri()] == page.browser.requests
    assert "sonde profile cpu -- make -j2 check" == page.browser.evaluate("document.title")
    assert 0 == page.browser.evaluate("document.querySelectorAll('img, h1 ~ h1, #chart script').length")
    assert 2 == page.browser.evaluate("document.scripts.length")


def test_what_was_asked_for_cannot_break_out_of_the_heading(page: Page) -> None:
    import dataclasses

    profile = profile_of()
    request = f"-- sh -c '{HOSTILE[0]}'"
    measured = dataclasses.replace(profile.measured, request=request, host=HOSTILE[1])
    page.show(dataclasses.replace(profile, measured=measured))
    assert request == page.browser.evaluate("document.querySelector('h1 code').textContent")
    assert [] == page.browser.errors


def test_the_policy_lets_no_other_script_run(page: Page) -> None:
    page.show(profile_of())
    page.browser.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = \"out\"'}))"
    )
    assert "sonde profile cpu -- make -j2 check" == page.browser.evaluate("document.title")
    assert any("Content Security Policy" in error for error in page.browser.errors)


def test_ten_thousand_boxes_can_be_looked_around_in(page: Page) -> None:
    def stack(number: int) -> list[Frame]:
        return [Frame(f"f{number >> shift}_{shift}", module="/srv/bin/work") for shift in range(13, -1, -1)]

    rows: list[Row] = [(1, "work", stack(number), 1 + number % 3) for number in range(5000)]
    page.show(profile_of(rows))
    page.browser.click(*page.box("f1_11")[:2])
    assert page.box("all")[2] == pytest.approx(page.box("f1_11")[2], abs=1)
    page.type("_0$")
    assert page.browser.wait(MATCHED).startswith("100 % matched")
    assert [] == page.browser.errors


def test_it_is_readable_dark_and_narrow(page: Page) -> None:
    page.show(profile_of())
    light = page.browser.evaluate("getComputedStyle(document.body).backgroundColor")
    page.browser.darken(is_dark=True)
    page.browser.wait(f"getComputedStyle(document.body).backgroundColor !== '{light}'")
    page.browser.resize(400, 800)
    page.browser.wait("document.querySelector('#chart svg').getAttribute('width') < 400")
    assert page.browser.evaluate("document.documentElement.scrollWidth") <= 400
    assert [] == page.browser.errors


def test_nothing_measured_is_a_page_too(page: Page) -> None:
    page.show(profile_of([]))
    assert "0 samples" in page.browser.evaluate("document.body.innerText")
    assert [] == page.browser.errors


def test_the_scripts_are_as_they_were_published() -> None:
    """Nothing of the page's is hidden in them: their own first lines say what they are."""
    text = html(profile_of()).decode()
    assert 11 <= len(re.findall(r"// https://d3js\.org/d3-[a-z-]+/ v\d", text))


# ---- speedscope ---------------------------------------------------------------------------------------------


def test_speedscope_opens_its_files(browser: Browser, tmp_path: Path) -> None:
    try:
        folder = speedscope_reader.fetched()
    except BuildError as error:
        pytest.skip(f"speedscope cannot be had: {error}")
    data = base64.b64encode(speedscope(profile_of(ROWS))).decode()
    (tmp_path / "load.js").write_text(f"speedscope.loadFileFromBase64('x.speedscope.json', '{data}')")
    browser.resize(1400, 900)
    browser.send(
        "Page.navigate", url=f"{(folder / 'index.html').as_uri()}#localProfilePath={tmp_path}/load.js"
    )
    browser.wait("document.title === 'sonde profile cpu -- make -j2 check - speedscope'")
    browser.wait("document.body.innerText.includes('everything (1/7)')")
    find = (
        "[...document.querySelectorAll('div')].filter((each) => each.textContent.endsWith('Sandwich')).pop()"
    )
    browser.evaluate(f"{find}.click()")
    browser.wait("document.body.innerText.includes('seventy')")
    text = browser.evaluate("document.body.innerText")
    assert re.search(r"707\.\d+ms \(47%\)", text)
