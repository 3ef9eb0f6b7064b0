"""Show the whole idea on the plugins in `plugins/`; `make demo` runs this.

Everything printed is computed while it runs. Settings and variables of the caller's
shell play no part, so that it shows the same on every machine. The last part talks to a
server: on a terminal, or with ``--serve``, that is left running until Ctrl-C.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from toolkit import (
    ChatFailedError,
    DiscoveryReport,
    Settings,
    Toolkit,
    ToolResult,
    UserContext,
    UserToolSystem,
)
from toolkit.cli.view import View, heading, label_of
from toolkit.testing import ChatClient, connect, token_for
from toolkit.testing.chat import Message
from toolkit.tokens import user_id_of_email

PREFER = {"word_count": "toolkit-text"}
PLUGINS = {
    *("toolkit-broken", "toolkit-cloud-costs", "toolkit-data", "toolkit-text"),
    *("toolkit-cost-agent", "toolkit-data-agent", "toolkit-triage"),
}
LICENCE = Path(__file__).resolve().parent.parent / "LICENSE"
SQL = """
SELECT name[1] AS initial, count(*) AS packages, sum(size_kb)::INT AS kilobytes
FROM packages GROUP BY initial ORDER BY kilobytes DESC LIMIT 4
"""

COMMAND = Path(sys.executable).with_name("toolkit")
SCOPES = ("costs:read", "data:read", "text:notes")
ANN, BOB = "ann@example.com", "bob@example.com"
QUESTIONS = {
    ANN: ("data_agent", "Top 3 names by size_kb"),
    BOB: ("cost_optimization_agent", "Help me optimize my AWS costs for my startup"),
}
ANSWER_LINES = 24

console = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def main() -> int:
    """Run the demo.

    Returns:
        The exit status: 1 when a plugin that this is about is not there.
    """
    started = time.perf_counter()
    for name in [one for one in os.environ if one.startswith("TOOLKIT_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="toolkit-demo-") as name:
        folder = Path(name)
        with serving(folder) as server:  # it gets ready while the rest is shown
            if not show_packages(folder):
                return 1
            url = server.url()
            asyncio.run(show_chat(server, url))
            say(f"\nAll of this took {time.perf_counter() - started:.1f} s.")
            leave(server, url)
    return 0


def show_packages(folder: Path) -> bool:
    """Show what installed packages bring; tell whether those of this demo are there."""
    with Toolkit(Settings()) as kit:
        found = {one.origin.distribution for one in kit.report.findings}
        missing = PLUGINS - found
        if missing:
            say(f"not installed: {', '.join(sorted(missing))}; run `make demo`.")
            return False
        show_report(kit.report)
        asyncio.run(show_users(kit, folder))
    asyncio.run(show_collision(kit))
    return True


# --- 1. what discovery found ---------------------------------------------------------


def show_report(report: DiscoveryReport) -> None:
    """Print what became of everything that the installed packages publish."""
    title("1. Discovery: what installed packages publish, and what became of it")
    say(f"{report.summary()}, in {report.seconds:.2f} s")
    view = View(report)
    table = columns("Accepted", "", "Tools and agents")
    for owner, names in sorted(by_owner(report).items()):
        table.add_row(owner, str(len(names)), ", ".join(names))
    show(table)
    table = columns("Dropped, because", "", "What (toolkit doctor adds what to do)")
    reasons = Counter(str(one.reason) for one in view.dropped)
    for reason, count in reasons.most_common():
        names = [label_of(one) for one in view.dropped if str(one.reason) == reason]
        table.add_row(reason, str(count), one_line(dict.fromkeys(names), 48))
    show(table)
    say(f"and {view.hidden.total()} private or re-exported names, passed over silently")
    table = columns("Failed to load", "", "Cause")
    for one in report.failed:
        table.add_row(label_of(one), "", one_line([one.detail], 48))
    show(table)
    say("None of them hides another: the tools of the same package are accepted above.")


def by_owner(report: DiscoveryReport) -> dict[str, list[str]]:
    """Map each distribution to the names of its accepted tools and agents."""
    found: dict[str, list[str]] = {}
    for one in report.accepted:
        found.setdefault(heading(one.origin), []).append(one.name)
    return found


# --- 2. to 4. two users --------------------------------------------------------------


async def show_users(kit: Toolkit, folder: Path) -> None:
    """Build the systems of two users, and let both work."""
    write_packages(folder / "packages.csv")
    notes = "text:notes"
    ann = UserContext(
        user_id="ann",
        scopes=frozenset({notes, "data:read"}),
        metadata={"data_folder": str(folder)},
    )
    bob = UserContext(user_id="bob", scopes=frozenset({notes, "costs:read"}))
    async with kit.user(ann) as anns, kit.user(bob) as bobs:
        show_tools(anns, bobs)
        await show_invisible(anns, bobs)
        await show_notebooks(anns, bobs)
        await show_work(anns, bobs)
    await show_end(kit, anns)


def show_tools(*systems: UserToolSystem) -> None:
    """Print side by side which tools each user has."""
    title("2. Two users with different scopes: each has their own tools")
    held = [{tool.name for tool in one.get_all_tools()} for one in systems]
    users = [one.user_context for one in systems]
    table = columns("Tool", *(user.user_id for user in users))
    for name in sorted(set().union(*held)):
        table.add_row(name, *("yes" if name in mine else "-" for mine in held))
    counts = [f"{len(mine)} tools" for mine in held]
    table.add_row(Text("scopes", style="dim"), *(scopes_of(user) for user in users))
    table.add_row(Text("in all", style="dim"), *counts)
    show(table)


def scopes_of(user: UserContext) -> str:
    """List a user's scopes, one a line."""
    return "\n".join(sorted(user.scopes))


async def show_invisible(*systems: UserToolSystem) -> None:
    """Print that a tool one may not see answers as if it were not installed."""
    title("3. A tool that a user may not see does not exist for them")
    table = columns("Who calls what", "Its package is", "The answer")
    asked = (("cost_overview", "toolkit-cloud-costs"), ("query_tables", "toolkit-data"))
    for system, (name, owner) in zip(systems, asked, strict=True):
        user = system.user_context
        hidden = await asked_without({"toolkit-broken"}, user, name)
        absent = await asked_without({"toolkit-broken", owner}, user, name)
        table.add_row(f"{user.user_id}: {name}", "installed", hidden)
        table.add_row("", "left out", absent)
        same = hidden == absent
        verdict = "word for word the same" if same else "NOT THE SAME"
        table.add_row("", "", Text(verdict, style="dim" if same else "bold red"))
    show(table)


async def asked_without(packages: set[str], user: UserContext, name: str) -> str:
    """Return the answer to a call where these packages are not even loaded."""
    with Toolkit(Settings(deny=frozenset(packages))) as kit:
        async with kit.user(user) as system:
            return told(await system.execute(name, {}))


def told(result: ToolResult) -> str:
    """Return what a caller learns of a result."""
    if result.error is None:
        return result.value_json()
    return f"{result.error.code}: {result.error}"


async def show_notebooks(anns: UserToolSystem, bobs: UserToolSystem) -> None:
    """Print that one tool class keeps nothing of one user for another."""
    title("4. State does not cross: `notebook` keeps notes, one instance per user")
    systems = {"ann": anns, "bob": bobs}
    written = (
        *(("ann", "ask bob about July"), ("bob", "call the bank")),
        *(("ann", "renew the licence"), ("bob", "tell ann nothing")),
    )
    calls = [systems[who].execute("notebook", {"note": note}) for who, note in written]
    results = await asyncio.gather(*calls)
    table = columns("Who", "adds", "and finds in the notebook")
    for (who, note), result in zip(written, results, strict=True):
        table.add_row(who, note, told(result))
    show(table)


async def show_end(kit: Toolkit, closed: UserToolSystem) -> None:
    """Print that nothing of a user is left when their system is closed."""
    title("7. When a system is closed, nothing of it is left")
    user, note = closed.user_context, {"note": "hello again"}
    who = user.user_id
    say(f"Open tool systems of {who}: {kit.factory.registry_count(who)}")
    async with kit.user(user) as again:
        refused = told(await closed.execute("notebook", note))
        found = told(await again.execute("notebook", note))
        say(f"The closed one answers {who}: {refused}")
        say(f"A new one finds in {who}'s notebook: {found}")
        say(f"Open tool systems of {who}: {kit.factory.registry_count(who)}")


async def show_work(anns: UserToolSystem, bobs: UserToolSystem) -> None:
    """Run real tools on real data for both users at once."""
    title("5. Real work: ann asks SQL, bob counts words, both at the same time")
    text = LICENCE.read_text(encoding="utf-8")
    arguments = {"text": text, "min_letters": 8}
    rows, words = await asyncio.gather(
        anns.execute("query_tables", {"sql": SQL}),
        bobs.execute("toolkit-text.word_count", arguments),
    )
    say(f"ann: the packages of this environment by initial, {rows.seconds:.2f} s")
    show(rows_table(value_of(rows)))
    counted = list(value_of(words).items())[:6]
    said = ", ".join(f"{word} {count}" for word, count in counted)
    say(f"\nbob: long words of our {len(text):,} byte licence, {words.seconds:.2f} s")
    say(said, indent=2)
    overview, report = await asyncio.gather(
        bobs.execute("cost_overview", {}),
        bobs.execute("toolkit-cloud-costs.savings_report", {}),
    )
    show_savings(value_of(overview), value_of(report))


def value_of(result: ToolResult) -> Any:  # noqa: ANN401 - JSON
    """Return a result as plain JSON values; a failed call ends the demo.

    Raises:
        ToolkitError: The error of that call.
    """
    result.unwrap()
    return json.loads(result.value_json())


def rows_table(answer: dict[str, Any]) -> Table:
    """Lay out the answer of a query."""
    names = [column["name"] for column in answer["columns"]]
    table = columns(*names)
    for row in answer["rows"]:
        table.add_row(*map(str, row.values() if isinstance(row, dict) else row))
    return table


def write_packages(file: Path) -> None:
    """Write what is installed here as a table: name, version, size."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("name", "version", "size_kb"))
        for one in distributions():
            size = sum(part.size or 0 for part in one.files or ()) / 1024
            writer.writerow((one.metadata["Name"], one.version, f"{size:.1f}"))


# --- 6. savings ----------------------------------------------------------------------


def show_savings(overview: dict[str, Any], report: dict[str, Any]) -> None:
    """Print the savings report with the figures that it rests on."""
    title("6. bob's savings report, with the figures it rests on")
    basis, window = report["basis"], report["window"]
    say(
        f"Read: {basis['kind']}, {', '.join(basis['files'])}; "
        f"{overview['basis']['rows']} charges of {', '.join(basis['providers'])}; "
        f"estimates from {window['first_day']} to {window['last_day']}."
    )
    table = columns("", "A month", "Sure", "What to do, and how it was computed")
    table.columns[1].justify = "right"
    others = []
    for one in report["findings"]:
        saving = one["estimated_monthly_saving"]
        if saving is None:
            others.append(one["title"])
            continue
        amount = f"{saving:,.2f} {one['currency']}"
        about = Text.assemble(
            f"{one['title']}. {one['action']}", "\n", (one["calculation"], "dim")
        )
        table.add_row(str(one["rank"]), amount, one["confidence"], about)
    show(table)
    for total in report["totals"]:
        currency, saving = total["currency"], total["estimated_monthly_saving"]
        parts = (f"{sure} {sum_:,.2f}" for sure, sum_ in total["by_confidence"].items())
        sure = ", ".join(parts) or "no estimate"
        usage = f"{total['monthly_usage_cost']:,.2f} {currency}"
        say(f"Together {saving:,.2f} {currency} of {usage} usage a month ({sure})")
    say("\nWorth a look, without a figure:")
    for text in others:
        say(text, indent=2)
    say("Not answered, as the data cannot:")
    for one in report["unsupported"]:
        say(f"{one['rule']}: {one['reason']}", indent=2)


# --- 7. a name that several claim ----------------------------------------------------


async def show_collision(kit: Toolkit) -> None:
    """Print how one line of settings gives a claimed name to one distribution."""
    title("8. Names that several packages claim: nobody wins silently")
    for one in kit.catalog.collisions:
        say(f"{one.name} is claimed by {' and '.join(one.qualified_names)}")
    say("\nann calls", *await told_names(Settings()))
    for name, owner in PREFER.items():
        say("\nOne line in toolkit.toml:")
        say(f'prefer.{name} = "{owner}"', indent=2)
    say("\nann calls", *await told_names(Settings(prefer=PREFER)))


async def told_names(settings: Settings) -> list[str]:
    """Call every claimant of a name by each of its names, and tell the answers."""
    call, lines = {"text": "to be or not to be"}, []
    with Toolkit(settings) as kit:
        async with kit.user(UserContext(user_id="ann")) as system:
            for name in ("", "toolkit-text.", "toolkit-broken."):
                result = await system.execute(f"{name}word_count", call)
                lines.append(f"\n  {result.tool}\n    {told(result)}")
    return lines


# --- 9. the chat backend -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server on this machine, and the settings that its tokens are made by."""

    process: subprocess.Popen[str]
    settings: Settings

    def token(self, email: str) -> str:
        """Return a token of somebody who may use all tools."""
        return token_for(email, self.settings, scopes=SCOPES)

    def url(self) -> str:
        """Wait until it listens; return where."""
        return (
            "" if self.process.stdout is None else self.process.stdout.readline()[:-1]
        )


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run `toolkit serve` on a free port of loopback, and stop it at the end."""
    tables = folder / "tables" / user_id_of_email(ANN)
    tables.mkdir(parents=True)
    write_packages(tables / "packages.csv")
    secret = secrets.token_hex(32)
    environ = {
        **os.environ,
        "TOOLKIT_AUTH__SECRET": secret,
        "TOOLKIT_DATA_ROOT": str(tables.parent),
        "TOOLKIT_SERVER__PORT": "0",
    }
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [COMMAND, "serve"],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Server(process, Settings(auth={"secret": secret}))  # type: ignore[arg-type]  # it becomes a table
        finally:
            process.terminate()


async def show_chat(server: Server, url: str) -> None:
    """Let two users ask agents at the same time, each over a socket of their own."""
    title("9. The chat backend: two users ask, over websockets, at the same time")
    clients = [await enter(url, server.token(email)) for email in QUESTIONS]
    started = time.perf_counter()
    told: list[tuple[float, str, Message]] = []

    async def converse(client: ChatClient, email: str) -> None:
        agent, question = QUESTIONS[email]
        async with client:
            async for event in client.events(question, agent):
                seconds = time.perf_counter() - started
                told.append((seconds, email, event))

    await asyncio.gather(*map(converse, clients, QUESTIONS))
    table = columns("After", *QUESTIONS)
    table.add_row("", *(f"{who}: {what}" for who, what in QUESTIONS.values()))
    for seconds, email, event in told:
        text = Text(line_of(event), overflow="ellipsis", no_wrap=True)
        cells = [text if one == email else "" for one in QUESTIONS]
        table.add_row(f"{seconds:.2f} s", *cells)
    show(table)
    answers = {email: event for _, email, event in told if "result" in event}
    for email in QUESTIONS:
        say(f"\n{email} is answered:\n")
        show_answer(answers[email]["result"])


async def enter(url: str, token: str) -> ChatClient:
    """Connect as soon as the server lets users in.

    Raises:
        ChatFailedError: It does not, for another reason than that it starts.
    """
    while True:
        try:
            return await connect(url, token)
        except ChatFailedError as error:
            if error.reason != "not_ready":
                raise
        await asyncio.sleep(0.05)


def line_of(event: Message) -> str:
    """Say in one line what an event tells."""
    data = event["data"]
    what = data.get("thought") or data.get("tool") or data.get("agent", "")
    return f"{event['type']} {what}"


def show_answer(text: str) -> None:
    """Print the beginning of an answer, which is Markdown."""
    lines = text.splitlines()
    console.print(Padding(Markdown("\n".join(lines[:ANSWER_LINES])), (0, 0, 0, 2)))
    if len(lines) > ANSWER_LINES:
        say(f"… and {len(lines) - ANSWER_LINES} lines more", indent=2)


def leave(server: Server, url: str) -> None:
    """Leave the server running until Ctrl-C, or say how to start one."""
    if "--serve" not in sys.argv and not sys.stdout.isatty():
        say("\nOne command starts a server that stays, and prints a token for it:")
        say("make demo ARGS=--serve", indent=2)
        return
    say("\nThe server goes on, with the tables of ann; Ctrl-C ends it. Open")
    print(f"  {url}")
    say("\nand sign in with the token of ann:")
    print(f"  {server.token(ANN)}", flush=True)
    with suppress(KeyboardInterrupt):
        server.process.wait()


# --- printing ------------------------------------------------------------------------


def title(text: str) -> None:
    """Print a heading."""
    console.print()
    console.rule(Text(text, style="bold"), align="left", characters="-")


def say(*parts: str, indent: int = 0) -> None:
    """Print a line of text."""
    text = Text("".join(parts))
    console.print(Padding(text, (0, 0, 0, indent), expand=False))


def show(table: Table) -> None:
    """Print a table, a blank line before it."""
    console.print()
    console.print(table)


def columns(*headers: str) -> Table:
    """Return an empty table without lines."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def one_line(texts: Iterable[str], width: int) -> str:
    """Join texts with commas, cut to a width."""
    text = " ".join(", ".join(texts).split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


if __name__ == "__main__":
    sys.exit(main())
