"""The `grove` command."""

import importlib
import sys
from typing import Any

import click

from grove.__about__ import __version__

# name -> (where the command is, what it does). Commands are imported when they are used, so that `--help`
# is quick.
_COMMANDS = {
    "init": ("grove.cli.init:init", "Write a first document of a source, and say what is left to do."),
    "validate": ("grove.cli.validate:validate", "Say everything that is wrong with the configuration, and where."),
    "check": ("grove.cli.check:check", "Ask sources for one page, and write nothing."),
    "run": ("grove.cli.run:run", "Collect streams once: what is due, or what is named."),
    "status": ("grove.cli.status:status", "Show how the streams stand, and what is wrong."),
    "state": ("grove.cli.state:state", "Look at what is remembered of streams; change, save and restore it."),
    "tail": ("grove.cli.tail:tail", "Show what was delivered last, and what comes."),
    "backfill": ("grove.cli.backfill:backfill", "Collect a span of a stream's past, beside what is live."),
    "connectors": ("grove.cli.connectors:connectors", "List the sources, and show what each of them needs."),
    "plugins": ("grove.cli.plugins:plugins", "List every plugin that is installed, with its settings."),
    "schema": ("grove.cli.schema:schema", "Print what documents may say, for editors that complete and check them."),
    "doctor": ("grove.cli.doctor:doctor", "Look at this machine and at the set-up, and say what is wrong."),
    "verify": ("grove.cli.verify:verify", "Prove that nothing was removed from an archive, altered or added."),
    "convert": ("grove.cli.convert:convert", "Take the state of a file cache over into LMDB, the default cache."),
    "practice": ("grove.cli.practice:practice", "Serve a log API to try a configuration on."),
    "demo": ("grove.cli.demo:demo", "Watch Grove collect from a source that breaks, without any set-up."),
    "daemon": ("grove.cli.daemon:daemon", "Stay, and collect each stream at its own frequency (`groved`)."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """The commands, none of which is imported for it, and the options."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=summary)
            for name, (_, summary) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 all is well; 1 a stream failed; 2 wrong usage; 75 every due stream is being collected "
        "elsewhere; 78 a configuration document or a setting is wrong; 130 interrupted."
    ),
)
@click.version_option(__version__, "-V", "--version", prog_name="grove", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Log everything, and show where an unexpected error comes from.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Collect audit logs from APIs that cannot push them.

    Without a command, every stream that is due is collected once. Streams are described by documents, JSON
    or YAML, in the directory GROVE_CONFIG_LOCAL_FILE_PATH; entries go to stdout unless GROVE_OUTPUT_HANDLER says
    otherwise; logs go to stderr.
    """
    ctx.obj = {"debug": debug}
    if ctx.invoked_subcommand is None:
        command = ctx.command
        assert isinstance(command, click.Group)
        run = command.get_command(ctx, "run")
        assert run is not None
        ctx.exit(ctx.invoke(run))


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line, and end the process with the code that its help names."""
    return execute(cli, "grove", arguments)


def execute(command: click.Command, name: str, arguments: list[str] | None) -> Any:
    """Run `command`, called `name`, with `arguments` or the process's own; end the process with the code it returns.

    An error ends it too, with a code that says of what kind it is; where one comes from is shown with `--debug` only.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        result = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except click.Abort:
        sys.exit(130)
    except Exception as err:
        if "--debug" in arguments:
            raise
        sys.exit(_tell_of_error(name, err))
    sys.exit(result if isinstance(result, int) else 0)


def _tell_of_error(name: str, err: Exception) -> int:
    """Say what went wrong; the exit code."""
    from grove.exceptions import (
        ConcurrencyException,
        ConfigurationException,
        ConnectorMissingException,
        GroveException,
    )
    from grove.logging import redact

    if isinstance(err, GroveException):
        click.echo(redact(f"{name}: {err}"), err=True)
        if isinstance(err, ConcurrencyException):
            return 75
        return 78 if isinstance(err, ConfigurationException | ConnectorMissingException) else 1
    if isinstance(err, OSError) and err.filename is not None:
        click.echo(f"{name}: {err.filename}: {err.strerror}.", err=True)
        return 1
    click.echo(
        redact(f"{name}: {type(err).__name__}: {err}\nThis is a defect; `{name} --debug` shows where it is."), err=True
    )
    return 1
