"""The page at ``/``, in a real browser against a real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ViewportSize, expect

from tests.browsing import Visit, chromium, needs_chromium, visiting
from tests.serving import FIVE, Running, Triage, add, serving, settings, token
from toolkit import AgentRun, ToolError, tool
from toolkit.server.page_files import FOLDER
from toolkit.tokens import mint_token

pytestmark = [needs_chromium, pytest.mark.asyncio(loop_scope="module")]

PHONE: Final = ViewportSize(width=390, height=844)
SUM: Final = 'add {"left": 1, "right": 2}'
AA: Final = 4.5  # WCAG 2.2, success criterion 1.4.3

MARKDOWN: Final = """\
# What it costs

**Much**, and `more`; see [the bill](https://example.com/bill) or *ask*.

| service | cost |
| :-- | --: |
| storage \\| archive | 1,200.50 |
| a name that is too long for a telephone, by far and without an end | 7.00 |

1. first
   - inner
2. second

> quoted

```
plain = "<b>text</b>"
```
"""

HOSTILE: Final = """\
<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 2"> <svg onload="window.hacked = 3">

[press](javascript:window.hacked=4) [data](data:text/html,<script>hacked=5</script>)
[tab](java\tscript:window.hacked=6) ![picture](https://elsewhere.example/p.png)

| <img src=x onerror="window.hacked = 7"> |
| --- |
| <a href="javascript:window.hacked=8">cell</a> |

# <iframe src="javascript:window.hacked=9"></iframe>

[over](https://example.com/"onmouseover="window.hacked=10)
"""


class Echo:
    """Says what it is told."""

    name = "echo_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        return message


LARGE: Final = {
    "lines": "\n" * 199_000,
    "spaces": "# a" + " " * 190_000 + "x",
    "brackets": "[" * 100_000 + "[a](" * 20_000,
    "stars": "**a *b `c " * 19_000,
    "cells": "a|b\n" + (" " * 3_000 + "-|") * 60 + "x",
    "levels": "\n".join(" " * depth + "- x" for depth in range(600)),
    "too much": "word " * 100_000,
}


class Large:
    """Says what takes long to read."""

    name = "large_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        return LARGE[message]


class Waiting:
    """Waits for ever."""

    name = "waiting_agent"

    async def run(self, message: str, run: AgentRun) -> str:
        await run.think("I wait")
        await asyncio.Event().wait()
        return message


@tool
async def wipe(table: str) -> str:
    """Empty a table.

    Args:
        table: Which one.
    """
    return f"{table} is empty"


@tool
async def burn() -> str:
    """Fail."""
    raise ToolError("there is no fuel")


@tool(required_scopes={"secrets:read"})
async def reveal() -> str:
    """Reveal a secret."""
    return "secret"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Running]:
    agents, rules = (
        (Triage, Echo, Large, Waiting),
        {"approve_tools": frozenset({"wipe"})},
    )
    async with serving(add, burn, wipe, reveal, agents=agents, rules=rules) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, server: Running) -> AsyncIterator[Visit]:
    async with visiting(browser, server.url) as found:
        yield found


# --- a conversation ----------------------------------------------------------------


async def test_person_sees_five_events_in_order_and_reads_the_answer(
    visit: Visit,
) -> None:
    """Sign in, ask, watch the timeline fill, read what came of it
    (S15, S77-S81, S179-S182).
    """
    await visit.sign_in()
    await visit.ask(SUM)
    await visit.answer("add says 3, to ada")
    events = visit.last.locator(".events li")
    await expect(events).to_have_count(5)
    assert await visit.last.locator(".kind").all_inner_texts() == FIVE
    times = [float(one.removesuffix(" s")) for one in await texts(events, "time")]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert await texts(events, ".what") == [
        "triage_agent began",
        "looking for the right tool",
        "add runs",
        f"add done in {(await texts(events, '.what'))[3].rpartition(' in ')[2]}",
        f"Answered in {(await texts(events, '.what'))[4].split()[2]} s, 1 tool call",
    ]
    await expect(visit.locate("#said")).to_contain_text("add says 3, to ada")


async def texts(within: Any, selector: str) -> list[str]:
    """Return the texts of elements, with plain spaces."""
    found = await within.locator(selector).all_inner_texts()
    return [one.replace("\N{NO-BREAK SPACE}", " ") for one in found]


async def test_arguments_and_results_unfold_where_they_are_told(visit: Visit) -> None:
    """Show what a tool was given, and what it gave, to whoever opens it (S79, S80)."""
    await visit.sign_in()
    await visit.ask(SUM)
    await visit.answer("add says 3")
    await visit.last.get_by_text("Arguments").click()
    shown = visit.last.get_by_label("Arguments")
    await expect(shown).to_have_text('{\n  "left": 1,\n  "right": 2\n}')
    await visit.last.get_by_text("Result").click()
    await expect(visit.last.get_by_label("Result")).to_have_text("3")


async def test_answer_is_shown_as_the_markdown_it_is(visit: Visit) -> None:
    """Make headings, tables, lists, code and links of an answer (S181)."""
    await visit.sign_in()
    await visit.ask(MARKDOWN, "echo_agent")
    answer = visit.last.locator(".answer")
    await expect(answer.get_by_role("heading")).to_have_text("What it costs")
    await expect(answer.locator("strong")).to_have_text("Much")
    await expect(answer.locator("em")).to_have_text("ask")
    await expect(answer.locator("p code")).to_have_text("more")
    link = answer.get_by_role("link", name="the bill")
    await expect(link).to_have_attribute("href", "https://example.com/bill")
    await expect(answer.locator("th")).to_have_text(["service", "cost"])
    await expect(answer.locator("td").first).to_have_text("storage | archive")
    await expect(answer.locator("td.number")).to_have_text(["1,200.50", "7.00"])
    await expect(answer.locator("ol > li > ul > li")).to_have_text("inner")
    await expect(answer.locator("ol > li")).to_have_count(2)
    await expect(answer.locator("blockquote")).to_have_text("quoted")
    await expect(answer.locator("pre")).to_have_text('plain = "<b>text</b>"')


async def test_hostile_answer_runs_nothing_and_leads_nowhere(visit: Visit) -> None:
    """Show markup in an answer as the text it is, whatever it tries."""
    await visit.sign_in()
    await visit.ask(HOSTILE, "echo_agent")
    await visit.answer("<script>window.hacked = 1</script>")
    answer = visit.last.locator(".answer")
    await expect(answer.locator("script, img, svg, iframe, [style]")).to_have_count(0)
    links = await answer.locator("a").evaluate_all("all => all.map(one => one.href)")
    assert links == [
        "https://elsewhere.example/p.png",
        "https://example.com/%22onmouseover=%22window.hacked=10",
    ]
    for one in await answer.locator("td, p, h3").all():
        await one.click(position={"x": 1, "y": 1})
    names = "all => all.flatMap(one => one.getAttributeNames())"
    used = set(await answer.locator("*").evaluate_all(names))
    assert not [one for one in used if one.startswith("on")]
    assert await visit.page.evaluate("window.hacked") is None


async def test_failed_tool_says_what_went_wrong_in_the_timeline(visit: Visit) -> None:
    """Tell a tool's failure with its text and its code, where it happened (S80)."""
    await visit.sign_in()
    await visit.ask("burn")
    await visit.answer("burn failed: tool_error")
    failed = visit.last.locator(".events .bad")
    await expect(failed).to_contain_text("burn failed: there is no fuel tool_error")


async def test_run_that_waits_says_so_in_one_line_that_is_kept_up_to_date(
    browser: Browser,
) -> None:
    """Show that a run is alive without filling its timeline (S78)."""
    async with (
        serving(add, agents=(Waiting,), heartbeat=0.2) as slow,
        visiting(browser, slow.url) as visit,
    ):
        await visit.sign_in()
        await visit.ask("for ever", "waiting_agent")
        events = visit.last.locator(".events li")
        await expect(events.last).to_contain_text("Still working")
        for _ in range(2):
            shown = await events.last.locator("time").inner_text()
            await expect(events.last.locator("time")).not_to_have_text(shown)
        await expect(events).to_have_count(3)
        await visit.page.keyboard.press("Escape")
        await expect(visit.last.locator(".failure")).to_be_visible()


async def test_large_answer_never_stops_the_page(visit: Visit) -> None:
    """Show answers in time that are made to be slow to read, or too much to show."""
    await visit.sign_in()
    for name in LARGE:
        await visit.ask(name, "large_agent")
        await expect(visit.last.locator(".turn-state")).to_contain_text("large_agent, ")
    await visit.answer("300000 more characters.")


# --- in and out --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        ("no token", "malformed"),
        ("a.b.c", "malformed"),
        (token("ada")[:-4] + "AAAA", "bad_signature"),
        (
            mint_token(settings(auth={"audience": "others"}).auth, user_id="ada"),
            "wrong_audience",
        ),
    ],
    ids=["no token", "no content", "another signature", "for others"],
)
async def test_bad_token_is_refused_with_its_reason(
    browser: Browser, server: Running, shown: str, code: str
) -> None:
    """Stay outside with a bad token, learn why, and get in with a good one."""
    async with visiting(browser, server.url, is_refused=True) as visit:
        await visit.show(shown)
        error = visit.locate("#sign-in-error")
        await expect(error.locator("code")).to_have_text(code)
        await expect(visit.page.get_by_label("Token", exact=True)).to_be_focused()
        await expect(visit.locate("#work")).to_be_hidden()
        await visit.sign_in()
        await expect(visit.locate("#sign-in")).to_be_hidden()


async def test_token_is_kept_nowhere_but_in_memory(visit: Visit) -> None:
    """Forget the token when the page is loaded anew or somebody signs out."""
    await visit.sign_in()
    kept = "[{...localStorage}, {...sessionStorage}, document.cookie, location.href]"
    assert await visit.page.evaluate(kept) == [{}, {}, "", visit.page.url]
    assert await visit.page.locator("#token").input_value() == ""
    await visit.page.reload()
    await expect(visit.locate("#state")).to_have_text("Not signed in")
    await visit.sign_in()
    await visit.ask(SUM)
    await visit.answer("add says 3")
    await visit.page.get_by_role("button", name="Sign out").click()
    await expect(visit.locate("#sign-in")).to_be_visible()
    await expect(visit.locate(".turn")).to_have_count(0)


async def test_token_that_ends_soon_is_renewed_in_place(visit: Visit) -> None:
    """Ask for another token in time, refuse another user's, go on with one's own."""
    await visit.sign_in(lifetime=50.0)
    field = visit.page.get_by_label("New token")
    await field.fill(token("bob"))
    await field.press("Enter")
    await expect(visit.locate("#renew-error code")).to_have_text("another_user")
    await field.fill(token("ada", scopes=["secrets:read"]))
    await field.press("Enter")
    await expect(visit.locate("#renew")).to_be_hidden()
    await expect(visit.locate("#notes")).to_contain_text("added reveal")
    await visit.ask("reveal")
    await visit.answer("reveal says secret")


async def test_lost_connection_comes_back_by_itself(browser: Browser) -> None:
    """Say that the connection is lost, end what was open, and connect again."""
    async with AsyncExitStack() as until_stopped:
        agents = (Triage, Waiting)
        first = serving(add, agents=agents, drain_timeout=0.1)
        running = await until_stopped.enter_async_context(first)
        async with visiting(browser, running.url, is_refused=True) as visit:
            await visit.sign_in()
            await visit.ask("anything", "waiting_agent")
            await expect(visit.last.locator(".events li")).to_have_count(2)
            await until_stopped.aclose()
            await expect(visit.locate("#state")).to_contain_text("Connection lost")
            await expect(visit.last.locator(".failure")).to_be_visible()
            await expect(visit.page.get_by_role("button", name="Ask")).to_be_disabled()
            async with serving(add, port=running.address[1]):
                state = visit.locate("#state")
                await expect(state).to_have_text("Connected as ada", timeout=15_000)
                await visit.ask(SUM)
                await visit.answer("add says 3")


async def test_cut_connection_ends_what_was_asked_and_is_made_again(
    browser: Browser, server: Running
) -> None:
    """End an open question that will get no answer, and let it be asked again."""
    async with visiting(browser, server.url) as visit:
        await visit.sign_in()
        await visit.ask("anything", "waiting_agent")
        await expect(visit.last.locator(".events li")).to_have_count(2)
        for connection in list(server.server.server_state.connections):
            connection.transport.abort()
        code = visit.last.locator(".failure code")
        await expect(code).to_have_text("connection_lost")
        await expect(visit.locate("#state")).to_have_text("Connected as ada")
        await visit.ask(SUM)
        await visit.answer("add says 3")


async def test_two_people_side_by_side_see_their_own_only(
    browser: Browser, server: Running
) -> None:
    """Let two users ask at once in two browsers; neither sees a word of the other."""
    async with (
        visiting(browser, server.url) as ada,
        visiting(browser, server.url) as bob,
    ):
        await asyncio.gather(ada.sign_in("ada"), bob.sign_in("bob"))
        await asyncio.gather(ada.ask(SUM), bob.ask(SUM))
        await asyncio.gather(
            ada.answer("add says 3, to ada"), bob.answer("add says 3, to bob")
        )
        assert "bob" not in await ada.page.inner_text("body")
        assert "ada" not in await bob.page.inner_text("body")
        await expect(ada.locate(".turn")).to_have_count(1)


# --- control -----------------------------------------------------------------------


async def test_everything_is_done_by_keyboard_alone(visit: Visit) -> None:
    """Sign in, ask, read the tools and come back without touching a pointer (S15)."""
    keyboard = visit.page.keyboard
    await keyboard.insert_text(token("ada"))
    await keyboard.press("Enter")
    await expect(visit.question).to_be_focused()
    await keyboard.type("add {}")
    await keyboard.press("Shift+Enter")
    await keyboard.press("Backspace")
    await keyboard.press("Enter")
    await visit.answer("add failed: invalid_arguments")
    await press_until_focused(visit, "Shift+Tab", "#show-tools")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert await visit.page.evaluate(outline) == "solid"
    await keyboard.press("Enter")
    await expect(visit.locate("#tools")).to_be_visible()
    await press_until_focused(visit, "Tab", "#tools summary")
    await keyboard.press("Enter")
    await expect(visit.locate("#tools dl").first).to_be_visible()
    await keyboard.press("Escape")
    await expect(visit.locate("#tools")).to_be_hidden()
    await expect(visit.locate("#show-tools")).to_be_focused()


async def press_until_focused(visit: Visit, key: str, selector: str) -> None:
    """Go from one element to the next until this one has the focus."""
    is_there = f"document.activeElement.matches('{selector}')"
    for _ in range(30):
        if await visit.page.evaluate(is_there):
            return
        await visit.page.keyboard.press(key)
    pytest.fail(f"{selector} cannot be reached with {key}")


@pytest.mark.parametrize(
    ("button", "answer"),
    [
        ("Approve", "wipe says orders is empty, to ada"),
        ("Refuse", "wipe failed: approval_denied"),
    ],
)
async def test_call_runs_only_when_its_person_approves(
    visit: Visit, button: str, answer: str
) -> None:
    """Show what waits for approval, with its arguments, and do what is decided."""
    await visit.sign_in()
    await visit.ask('wipe {"table": "orders"}')
    box = visit.page.get_by_role("group", name="Approval of wipe")
    await expect(box.locator("pre")).to_have_text('{\n  "table": "orders"\n}')
    await expect(visit.locate("#alarm")).to_have_text("wipe waits for your approval")
    await box.get_by_role("button", name=button).click()
    await visit.answer(answer)
    await expect(box).to_have_count(0)


@pytest.mark.parametrize("how", ["Escape", "button"])
async def test_run_is_cancelled_by_escape_and_by_button(visit: Visit, how: str) -> None:
    """Give up a run that does not end, and say so with its code."""
    await visit.sign_in()
    await visit.ask("for ever", "waiting_agent")
    await expect(visit.last.locator(".events li")).to_have_count(2)
    if how == "Escape":
        await visit.page.keyboard.press("Escape")
    else:
        await visit.page.get_by_role("button", name="Cancel").click()
    await expect(visit.last.locator(".failure code")).to_have_text("run_cancelled")
    await expect(visit.last.locator(".kind").last).to_have_text("error")
    await expect(visit.page.get_by_role("button", name="Cancel")).to_be_hidden()


@pytest.mark.parametrize("may_know", [False, True], ids=["told nothing", "told why"])
async def test_panel_shows_own_tools_and_why_others_are_absent(
    visit: Visit, *, may_know: bool
) -> None:
    """List a user's tools with their arguments; say why others are absent to whoever
    may know, and to others how they could.
    """
    await visit.sign_in(scopes=["toolkit:explain"] if may_know else [])
    await visit.page.get_by_role("button", name="3 tools").click()
    panel = visit.locate("#tools")
    await expect(panel.locator(".tool-list summary code")).to_have_text(
        ["add", "burn", "wipe"]
    )
    await panel.get_by_text("Empty a table.").click()
    await expect(panel.locator("[open] dt")).to_have_text("table string, needed")
    await expect(panel.locator("[open] dd")).to_have_text("Which one.")
    absent = panel.locator(".absent-list li")
    await expect(absent).to_have_count(1 if may_know else 0)
    told = "secrets:read" if may_know else "A token with the scope toolkit:explain"
    await expect(panel).to_contain_text(told)
    assert may_know or "reveal" not in await visit.page.inner_text("body")


# --- looks -------------------------------------------------------------------------


async def test_telephone_never_scrolls_sideways(
    browser: Browser, server: Running
) -> None:
    """Fit everything into 390 pixels: forms, answers, wide tables, long words."""
    async with visiting(
        browser, server.url, viewport=PHONE, has_touch=True, is_mobile=True
    ) as visit:
        assert await visit.page.evaluate(_OVERHANG) == []
        await visit.sign_in()
        assert await visit.page.evaluate(_OVERHANG) == []
        wide = "|" + " 1,000,000.00 |" * 8
        table = f"{wide}\n|{' --- |' * 8}\n{wide}"
        long = f"{'long' * 60}\n\n```\n{'code' * 60}\n```"
        await visit.ask(f"{MARKDOWN}\n{table}\n\n{long}\n\n{HOSTILE}", "echo_agent")
        await visit.answer("quoted")
        assert await visit.page.evaluate(_OVERHANG) == []
        await visit.page.get_by_role("button", name="3 tools").click()
        await visit.locate("#tools summary").first.click()
        assert await visit.page.evaluate(_OVERHANG) == []


_OVERHANG: Final = """() => {
    const width = document.documentElement.clientWidth;
    const all = document.documentElement.scrollWidth > width ? ["page"] : [];
    if (innerWidth > 390) all.push(`zoomed out to ${innerWidth}`);
    const controls = document.querySelectorAll("button, input, textarea, select");
    const visible = [...controls].filter((one) => one.checkVisibility());
    return all.concat(visible.filter((one) => one.getBoundingClientRect().right > width)
        .map((one) => one.id || one.textContent));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("is_toggled", [False, True], ids=["system", "toggled"])
async def test_all_text_has_enough_contrast(
    browser: Browser, server: Running, scheme: Any, *, is_toggled: bool
) -> None:
    """Keep every text readable in both colour schemes, chosen or the system's."""
    async with visiting(
        browser, server.url, color_scheme=scheme, reduced_motion="reduce"
    ) as visit:
        if is_toggled:
            await visit.page.get_by_role("button", name="Use").click()
        is_dark = (scheme == "dark") is not is_toggled
        await assert_readable(visit, is_dark=is_dark)
        await visit.sign_in()
        await visit.ask(f"{MARKDOWN}", "echo_agent")
        await visit.answer("quoted")
        await visit.ask("burn")
        await visit.answer("burn failed: tool_error")
        await visit.ask("for ever", "waiting_agent")
        await visit.page.keyboard.press("Escape")
        await expect(visit.last.locator(".failure")).to_be_visible()
        await assert_readable(visit, is_dark=is_dark)
        await visit.page.get_by_role("button", name="3 tools").click()
        await assert_readable(visit, is_dark=is_dark)


async def assert_readable(visit: Visit, *, is_dark: bool) -> None:
    """Compare each text's colour with what is behind it."""
    found = await visit.page.evaluate(_COLOURS)
    assert len(found) >= 5
    poor = [
        (text, round(ratio, 2))
        for text, front, back in found
        if (ratio := contrast(front, back)) < AA
    ]
    assert poor == []
    paper = luminance(found[0][2])
    assert (paper < 0.1) is is_dark


def contrast(front: list[float], back: list[float]) -> float:
    """Return the contrast ratio of two colours, as WCAG 2.2 defines it."""
    dark, light = sorted((luminance(front), luminance(back)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[float]) -> float:
    """Return the relative luminance of a colour, as WCAG 2.2 defines it."""
    linear = [
        one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4
        for one in (part / 255 for part in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


_COLOURS: Final = """() => {
    const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
    const behind = (one) => {
        for (; one; one = one.parentElement) {
            const colour = numbers(getComputedStyle(one).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour.slice(0, 3);
        }
        return [255, 255, 255];
    };
    const hasText = (one) => [...one.childNodes].some(
        (node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    return [...document.querySelectorAll("body *")]
        .filter((one) => one.checkVisibility({ visibilityProperty: true }))
        .filter((one) => hasText(one) && !one.disabled && !one.closest(".hidden"))
        .map((one) => [`${one.tagName} ${one.textContent.slice(0, 30)}`,
            numbers(getComputedStyle(one).color).slice(0, 3), behind(one)]);
}"""


async def test_nothing_moves_where_people_want_stillness(
    browser: Browser, server: Running
) -> None:
    """Animate nothing for whoever asks for reduced motion."""
    async with visiting(browser, server.url, reduced_motion="reduce") as visit:
        await visit.sign_in()
        await visit.ask("for ever", "waiting_agent")
        await expect(visit.last.locator(".working")).to_be_visible()
        assert await visit.page.evaluate("document.getAnimations().length") == 0
        behaviour = "getComputedStyle(document.documentElement).scrollBehavior"
        assert await visit.page.evaluate(behaviour) == "auto"
        await visit.page.keyboard.press("Escape")


# --- its files ---------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
async def test_files_come_with_the_policy_that_keeps_them_to_themselves(
    server: Running, file: Path
) -> None:
    """Serve each file with its type, and a policy that lets nothing else in."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        response = await client.get(f"/{file.name}")
    kinds = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    kind = response.headers["content-type"].partition(";")[0]
    assert kind == kinds.get(file.suffix, "image/svg+xml")
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "innerHTML" not in response.text
