"""A real browser that looks at the page, for tests; it notes whatever goes wrong."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    async_playwright,
    expect,
)

from tests.serving import token

CHROMIUM: Final = shutil.which("chromium")
FLAGS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
)
NO_ANSWER: Final = ("WebSocket connection to", "Failed to load resource")
"""How Chromium's console tells that a server refused, or was not there."""

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"
)

_WATCH: Final = """
    document.addEventListener("securitypolicyviolation", (event) =>
        console.error("CSP", event.effectiveDirective, event.blockedURI));
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=list(FLAGS)
        )
        yield browser
        await browser.close()


@dataclass
class Visit:
    """Somebody who looks at the page. Lives as long as their browser context."""

    page: Page
    faults: list[str] = field(default_factory=list)

    def hear(self, message: ConsoleMessage) -> None:
        """Note what the console calls an error or a warning."""
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def locate(self, selector: str) -> Locator:
        """Find by a selector."""
        return self.page.locator(selector)

    @property
    def question(self) -> Locator:
        """Where one asks."""
        return self.page.get_by_label("Your question")

    @property
    def last(self) -> Locator:
        """The last question with all that belongs to it."""
        return self.locate(".turn").last

    async def sign_in(self, user: str = "ada", **facts: Any) -> None:
        """Show a token, and wait until the page is ready."""
        await self.show(token(user, **facts))
        await expect(self.locate("#state")).to_have_text(f"Connected as {user}")
        await expect(self.locate("#agent option").nth(1)).to_be_attached()

    async def show(self, text: str) -> None:
        """Fill in a token, whatever comes of it."""
        await self.page.get_by_label("Token", exact=True).fill(text)
        await self.page.get_by_role("button", name="Sign in").click()

    async def ask(self, message: str, agent: str = "") -> None:
        """Ask an agent."""
        await self.page.get_by_label("Agent", exact=True).select_option(agent)
        await self.question.fill(message)
        await self.page.get_by_role("button", name="Ask", exact=True).click()

    async def answer(self, text: str) -> None:
        """Wait until the last answer says so."""
        await expect(self.last.locator(".answer")).to_contain_text(text)


@asynccontextmanager
async def visiting(
    browser: Browser, url: str, *, is_refused: bool = False, **options: Any
) -> AsyncIterator[Visit]:
    """Open the page in a context of its own; nothing may go wrong in it.

    Args:
        browser: Where to open it.
        url: The server's.
        is_refused: Whether a server refuses somebody, or is not there for a while:
            Chromium's console tells that too.
        options: Of the context, such as ``viewport``.
    """
    context: BrowserContext = await browser.new_context(**options)
    context.set_default_timeout(5_000)
    await context.add_init_script(_WATCH)
    visit = Visit(await context.new_page())
    visit.page.on("console", visit.hear)
    visit.page.on("pageerror", lambda error: visit.faults.append(str(error)))
    await visit.page.goto(url)
    yield visit
    await context.close()
    expected = NO_ANSWER if is_refused else ()
    assert [one for one in visit.faults if not one.startswith(expected)] == []
