"""The options and arguments of the commands, each with its help."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.listing import Provider


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        typer.echo(f"toolkit-core {version('toolkit-core')}")
        raise typer.Exit


# --- before the command --------------------------------------------------------------

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="Read settings from this file."),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="PACKAGE",
        help="Import only this distribution; can be repeated.",
    ),
]
Deny = Annotated[
    list[str] | None,
    typer.Option(
        "--deny",
        metavar="PACKAGE",
        help="Never import this distribution; can be repeated.",
    ),
]
Module = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        metavar="MODULE",
        help="Scan this module or package too, also one in the working directory; "
        "can be repeated.",
    ),
]
Prefer = Annotated[
    list[str] | None,
    typer.Option(
        "--prefer",
        metavar="NAME=PACKAGE",
        help="Give a name that several claim to this distribution.",
    ),
]
Version = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Show the version and exit.",
    ),
]

# --- of one command ------------------------------------------------------------------

Query = Annotated[
    str,
    typer.Argument(
        metavar="NAME_OR_PACKAGE", help="What you expected to find, or did find."
    ),
]
ToolArgument = Annotated[
    str,
    typer.Argument(metavar="TOOL", help="Its listed or qualified name."),
]
ListAsJson = Annotated[
    bool, typer.Option("--json", help="Print an object with `tools` and `agents`.")
]
ReportAsJson = Annotated[
    bool, typer.Option("--json", help="Print the report as one object.")
]
ShowAll = Annotated[
    bool,
    typer.Option(
        "--all", help="Show private and re-exported names, not only their number."
    ),
]
ForProvider = Annotated[
    Provider | None,
    typer.Option(
        "--provider", help="In the form that this provider's API takes a tool."
    ),
]
User = Annotated[
    str, typer.Option("--user", metavar="ID", help="Who calls; any real id.")
]
Scope = Annotated[
    list[str] | None,
    typer.Option(
        "--scope", metavar="SCOPE", help="A scope they hold; can be repeated."
    ),
]
TokenScope = Annotated[
    list[str] | None,
    typer.Option(
        "--scope", metavar="SCOPE", help="A scope of the token; can be repeated."
    ),
]
Role = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        metavar="ROLE",
        help="A role they have; the setting role_scopes says what it brings.",
    ),
]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help="What a backend would attach to them; can be repeated.",
    ),
]
Arguments = Annotated[
    str,
    typer.Option(
        "--args",
        metavar="JSON",
        help="The tool's arguments as a JSON object; - reads standard input.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Give up after this; the tool's and the operator's limits hold too.",
    ),
]
Bearer = Annotated[
    str, typer.Option("--user", metavar="ID", help="Who they are; any real id.")
]
Email = Annotated[
    str | None,
    typer.Option("--email", metavar="ADDRESS", help="Their e-mail address."),
]
Lifetime = Annotated[
    float | None,
    typer.Option(
        "--lifetime",
        metavar="SECONDS",
        help="How long it lives; by default auth.token_lifetime, and never longer "
        "than auth.max_lifetime.",
    ),
]
CheckLock = Annotated[
    bool,
    typer.Option("--check", help="Write nothing; say what differs, and exit with 1."),
]
LockFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="PATH", help="Instead of the setting lock_file."),
]
Distribution = Annotated[
    str,
    typer.Argument(metavar="DISTRIBUTION", help="Your package, as it is installed."),
]
CheckManifest = Annotated[
    bool,
    typer.Option("--check", help="Write nothing; say what differs, and exit with 1."),
]
Host = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", help="Listen here, not at server.host."),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="PORT", help="Listen here; 0 takes any port that is free."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="COUNT", help="Processes that serve."),
]
Dev = Annotated[
    bool,
    typer.Option(
        "--dev",
        help="Serve this machine only, with a key made at random; print a token of the "
        "user developer.",
    ),
]
