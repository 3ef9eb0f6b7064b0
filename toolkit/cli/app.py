"""The commands; what they do is in the modules beside this one."""

import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from toolkit.cli import (
    caching,
    calling,
    doctor,
    listing,
    locking,
    manifests,
    minting,
    options,
    serving,
    why,
)
from toolkit.cli.session import Choices, parse_pairs, session
from toolkit.context import UserContext


class _Commands(TyperGroup):
    """Tells whoever gives one of its options after the command where that belongs."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own click
        try:
            return super().invoke(ctx)
        except Exception as error:
            self._tell_place(error, ctx.invoked_subcommand)
            raise

    def _tell_place(self, error: Any, command: str) -> None:  # noqa: ANN401 - as above
        option = getattr(error, "option_name", None)  # it has one if that is the fault
        for ours in self.params:
            if option in ours.opts:
                usage = " ".join(
                    filter(None, ("toolkit", option, ours.metavar, command))
                )
                text = f"{option} stands before the command: {usage}"
                error.message = f"No such option: {text}"


app = typer.Typer(
    name="toolkit",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: the same on a terminal, in a pipe, in the docs
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_STATUS = "Exit status: 0 all is well, 1 it is not, 2 wrong use or configuration."


def run() -> NoReturn:
    """Run the command and end the process, whatever threads a tool left behind.

    Raises:
        SystemExit: Always, with the exit status.
    """
    status = 1
    try:
        app(prog_name="toolkit")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        raise
    finally:
        calling.end_after(calling.GRACE, lambda: status)
    raise SystemExit(status)


@app.callback(
    epilog="""
\b
Examples:
  toolkit doctor
  toolkit --deny toolkit-broken list
  toolkit --config production.toml doctor --json
  toolkit --prefer word_count=toolkit-text call word_count \\
      --user ann --args '{"text": "to be or not to be"}'

Settings come from toolkit.toml in the working directory (or --config, or
$TOOLKIT_CONFIG), then from TOOLKIT_* variables, then from the options above, which
stand before the command. In a pipe, output is plain: one record a line, its fields
separated by tabs.
"""
)
def toolkit(  # noqa: PLR0913 - one parameter for each option
    context: typer.Context,
    *,
    config: options.Config = None,
    allow: options.Allow = None,
    deny: options.Deny = None,
    module: options.Module = None,
    prefer: options.Prefer = None,
    show_version: options.Version = False,  # noqa: ARG001 - its callback does the work
) -> None:
    """Find the tools that installed packages publish, explain them, and call them."""
    context.obj = Choices(
        config=config,
        allow=tuple(allow or ()),
        deny=tuple(deny or ()),
        modules=tuple(module or ()),
        prefer=tuple(prefer or ()),
    )


@app.command(
    "list",
    epilog=f"""
\b
Examples:
  toolkit list
  toolkit list --json | jq '.tools[].qualified_name'
  toolkit list | cut -f1

In a pipe, the fields are: name, qualified name, required scopes, origin,
description.

{_STATUS}
""",
)
def list_command(
    context: typer.Context, *, as_json: options.ListAsJson = False
) -> None:
    """List the tools, where they come from, and the scopes they require."""
    with session(context.obj) as opened:
        raise typer.Exit(listing.list_tools(opened, as_json=as_json))


@app.command(
    "why",
    short_help="Say what became of a name or package, and what to change.",
    epilog=f"""
\b
Examples:
  toolkit why word_count              a tool, by any of its names
  toolkit why toolkit-text            a distribution
  toolkit why toolkit_text.tools      a module
  toolkit why WordCount               a class, or another name in a module
  toolkit why my_entry_point          an entry point

{_STATUS}
""",
)
def why_command(context: typer.Context, name_or_package: options.Query) -> None:
    """Say what was found under a name, what happened to it, and what to change."""
    with session(context.obj) as opened:
        raise typer.Exit(why.explain(opened, name_or_package))


@app.command(
    "doctor",
    short_help="Report all that was found, and what has to be mended.",
    epilog=f"""
\b
Examples:
  toolkit doctor
  toolkit doctor --all | grep toolkit-text
  toolkit doctor --json | jq '.faults[].message'

In a pipe, the fields are: outcome, kind, name, origin, reason, detail.

{_STATUS}
Not well means: something failed to load, something published by name is no tool, a
name is claimed by several, or no tool was accepted.
""",
)
def doctor_command(
    context: typer.Context,
    *,
    show_all: options.ShowAll = False,
    as_json: options.ReportAsJson = False,
) -> None:
    """Report all that was found: accepted, dropped, failed, skipped, collisions."""
    with session(context.obj) as opened:
        status = doctor.diagnose(opened, as_json=as_json, show_all=show_all)
        raise typer.Exit(status)


@app.command(
    "schema",
    epilog=f"""
\b
Examples:
  toolkit schema word_count
  toolkit schema toolkit-text.word_count --provider anthropic

{_STATUS}
""",
)
def schema_command(
    context: typer.Context,
    tool: options.ToolArgument,
    *,
    provider: options.ForProvider = None,
) -> None:
    """Print the JSON schemas of a tool: its arguments and its result."""
    with session(context.obj) as opened:
        raise typer.Exit(listing.print_schema(opened, tool, provider))


@app.command(
    "call",
    epilog=f"""
\b
Examples:
  toolkit call slugify --user ann --args '{{"title": "Hello, World"}}'
  echo '{{"note": "buy milk"}}' | \\
      toolkit call notebook --user ann --scope text:notes --args -
  toolkit call toolkit-data.list_tables --user ann --scope data:read \\
      --metadata data_folder=./my-tables

The result goes to standard output as JSON, and nothing else does. Errors go to
standard error, with their code. A tool that this user may not see answers like one
that does not exist.

{_STATUS}
""",
)
def call_command(  # noqa: PLR0913 - one parameter for each option
    context: typer.Context,
    tool: options.ToolArgument,
    *,
    user: options.User,
    scope: options.Scope = None,
    role: options.Role = None,
    metadata: options.Metadata = None,
    arguments: options.Arguments = "{}",
    timeout: options.Timeout = None,
) -> None:
    """Call a tool as a user, and print its result as JSON."""
    with session(context.obj) as opened:
        caller = UserContext(
            user_id=user,
            scopes=frozenset(scope or ()),
            roles=frozenset(role or ()),
            metadata=parse_pairs(metadata or (), "--metadata", "KEY=VALUE"),
        )
        call = calling.Call(
            tool=tool,
            user=caller,
            arguments=sys.stdin.read() if arguments == "-" else arguments,
            source="standard input" if arguments == "-" else "--args",
            timeout=timeout,
        )
        raise typer.Exit(calling.call_tool(opened, call))


@app.command(
    "lock",
    short_help="Write down what is trusted, or compare what is installed with it.",
    epilog=f"""
\b
Examples:
  toolkit lock                    write toolkit.lock
  toolkit lock --check            for CI: say what differs, import nothing
  TOOLKIT_TRUST=locked toolkit list

Locked are the version, the hash of every file, the entry points and the tools of each
distribution that publishes here, is let in by the lists, and has no fault.

{_STATUS}
""",
)
def lock_command(
    context: typer.Context,
    *,
    check: options.CheckLock = False,
    file: options.LockFile = None,
) -> None:
    """Lock the distributions that publish tools here, as they are now."""
    with session(context.obj) as opened:
        act = locking.check_lock if check else locking.write_lock
        raise typer.Exit(act(opened, file))


@app.command(
    "manifest",
    short_help="Write down what your package publishes, or check that it is right.",
    epilog=f"""
\b
Examples:
  toolkit manifest my-package           write it into the package's folder
  toolkit manifest my-package --check   for CI: say what differs

A package that ships its manifest is listed without being imported, also where there
is no cache. Its code is imported at the first call, and then counts.

{_STATUS}
""",
)
def manifest_command(
    context: typer.Context,
    distribution: options.Distribution,
    *,
    check: options.CheckManifest = False,
) -> None:
    """Write the manifest of a package that is installed here, for its author."""
    with session(context.obj) as opened:
        status = manifests.make_manifest(opened, distribution, is_check=check)
        raise typer.Exit(status)


@app.command(
    "token",
    short_help="Print a token for development.",
    epilog=f"""
\b
Examples:
  export TOOLKIT_AUTH__SECRET=$(openssl rand -hex 32)
  toolkit token --user ann --scope costs:read --scope data:read
  toolkit token --user ann --role admin --email ann@example.com --lifetime 600

It is signed with the secret of the settings, and believed by every server that has the
same: whoever can read that secret can be anybody. The token goes to standard output,
and nothing else does.

{_STATUS}
""",
)
def token_command(
    context: typer.Context,
    *,
    user: options.Bearer,
    scope: options.TokenScope = None,
    role: options.Role = None,
    email: options.Email = None,
    lifetime: options.Lifetime = None,
) -> None:
    """Print a token that lets a client of the chat backend be this user."""
    with session(context.obj) as opened:
        bearer = minting.Bearer(
            user=user,
            scopes=tuple(scope or ()),
            roles=tuple(role or ()),
            email=email,
            lifetime=lifetime,
        )
        raise typer.Exit(minting.print_token(opened, bearer))


@app.command(
    "serve",
    short_help="Serve the chat backend until it is told to stop.",
    epilog=f"""
\b
Examples:
  toolkit serve --dev --scope data:read --scope costs:read
  TOOLKIT_AUTH__SECRET=$(cat secret) toolkit serve --host 0.0.0.0 --workers 4
  toolkit --config production.toml serve

The address goes to standard output, with --dev a token after it; logs go to standard
error. That token is of the user developer, holds server.admin_scope (toolkit:admin)
and the scopes given, and lives for auth.token_lifetime (an hour). At SIGTERM or SIGINT
nobody is let in any more; runs that are under way have server.drain_timeout seconds to
end. Without a key to verify tokens by, it does not start.

{_STATUS}
""",
)
def serve_command(
    context: typer.Context,
    *,
    host: options.Host = None,
    port: options.Port = None,
    workers: options.Workers = None,
    dev: options.Dev = False,
    scope: options.TokenScope = None,
) -> None:
    """Serve agents over websockets at /ws, and over HTTP; a page at / for people."""
    with session(context.obj) as opened:
        asked = serving.Serving(
            host=host,
            port=port,
            workers=workers,
            is_dev=dev,
            scopes=tuple(scope or ()),
        )
        raise typer.Exit(serving.serve_chat(opened, asked))


cache = typer.Typer(no_args_is_help=True, help="The cache of what was found.")
app.add_typer(cache, name="cache")


@cache.command("clear", epilog=_STATUS)
def cache_clear_command(context: typer.Context) -> None:
    """Forget what was found in every environment of this user."""
    with session(context.obj) as opened:
        raise typer.Exit(caching.clear_cache(opened.output))
