"""The `kvgate` command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from extproc import __version__
from extproc.config.build import build
from extproc.config.errors import ConfigError, Problem, dotted
from extproc.config.load import Loaded, load
from extproc.config.settings import Settings
from extproc.console.table import as_json
from extproc.telemetry import logs

log = logging.getLogger("kvgate")

_EXAMPLES = """\
examples:
  kvgate run                           serve as ./kvgate.yaml says
  kvgate run -c fleet.yaml --port 80   another file, another port
  kvgate validate -c fleet.yaml        check a file; exit status 1 if it is not valid
  kvgate render -c fleet.yaml          the whole configuration for an Envoy of your own
  kvgate top                           a running gateway on one screen
  kvgate replicas drain replica-1      no new requests for this one; `kvgate replicas -h` has the rest
  kvgate explain request.json          where a running gateway would send this request, and why
  kvgate sim --port 8101 --model m     one simulated vLLM replica
"""

_VALIDATE_EXAMPLES = """\
examples:
  kvgate validate -c fleet.yaml
  kvgate validate --json | jq -r '.problems[] | "\\(.line): \\(.key): \\(.text)"'

exit status: 0 valid, 1 not valid, 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0 done, 1 failed, 2 wrong usage; an error may have its own."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = _parser(simulates=argv[:1] == ["sim"]).parse_args(argv)
    try:
        status = arguments.command(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"kvgate: {error}", file=sys.stderr)
        return int(getattr(error, "exit_status", 1))
    return int(status or 0)


def _parser(*, simulates: bool) -> argparse.ArgumentParser:
    from extproc.console.commands import add_to

    parser = argparse.ArgumentParser(
        prog="kvgate",
        description="A gateway that sends each LLM request to the replica whose KV cache is warm.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kvgate {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="serve: Envoy, the processor, and simulated replicas for mock providers")
    _add_config(command)
    command.add_argument("--host", help="listen here instead of server.host")
    command.add_argument("--port", type=int, help="listen here instead of server.port")
    command.add_argument(
        "--reload", action="store_true", help="accepted for old scripts; a changed file is always read"
    )
    command.set_defaults(command=_run)

    command = commands.add_parser("serve", help="the processor alone, for an Envoy of your own")
    _add_config(command)
    command.add_argument("--host", help=argparse.SUPPRESS)
    command.add_argument("--port", type=int, help=argparse.SUPPRESS)
    command.set_defaults(command=_serve)

    command = commands.add_parser(
        "validate",
        help="check a configuration file: every problem with its line, and the key that was meant",
        epilog=_VALIDATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_config(command)
    command.add_argument("--json", action="store_true", help="print what was found as JSON")
    command.set_defaults(command=_validate)

    command = commands.add_parser("render", help="print the static configuration for an Envoy of your own")
    _add_config(command)
    command.set_defaults(command=_render)

    add_to(commands, _add_config)

    command = commands.add_parser("sim", help="one simulated vLLM replica")
    if simulates:  # an HTTP server and its engine: half a second that the other commands need not wait
        from extproc.sim.main import add_arguments
        from extproc.sim.main import run as run_sim

        add_arguments(command)
        command.set_defaults(command=run_sim)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path(os.environ.get("KVGATE_CONFIG", "kvgate.yaml")),
        metavar="FILE",
        help="default: $KVGATE_CONFIG, else ./kvgate.yaml",
    )


def _loader(arguments: argparse.Namespace) -> Callable[[], Loaded]:
    """Reads the file again at each call, with the options of the command line laid over it."""
    changes = {key: getattr(arguments, key) for key in ("host", "port") if getattr(arguments, key, None) is not None}

    def read() -> Loaded:
        loaded = load(arguments.config, os.environ)
        if not changes:
            return loaded
        server = loaded.settings.server.model_copy(update=changes)
        return Loaded(loaded.settings.model_copy(update={"server": server}), loaded.warnings)

    return read


def _warn(loaded: Loaded) -> Settings:
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded.settings


def _run(arguments: argparse.Namespace) -> int:
    from extproc.run import run

    read = _loader(arguments)
    settings = read().settings
    logs.configure(settings.server.log_level)
    overrides = [
        f"--{key}={getattr(arguments, key)}" for key in ("host", "port") if getattr(arguments, key) is not None
    ]
    asyncio.run(run(lambda: read().settings, arguments.config, tuple(overrides), _announce))
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from extproc.tuning import collect_garbage_seldom, keep_large_buffers, poll_without_event_engine

    poll_without_event_engine(os.environ)
    keep_large_buffers()
    from extproc.operations.live import Configuration
    from extproc.server import serve  # imports grpc

    read = _loader(arguments)

    def configuration() -> Configuration:
        loaded = read()
        return Configuration(_warn(loaded), build(loaded.settings), loaded.warnings)

    logs.configure(read().settings.server.log_level)
    begin = configuration()
    collect_garbage_seldom()
    uvloop.run(serve(begin, reload=configuration, path=arguments.config))
    return 0


def _validate(arguments: argparse.Namespace) -> int:
    try:
        loaded = _loader(arguments)()
        topology = build(loaded.settings)
    except ConfigError as error:
        if not arguments.json:
            raise
        problems = [_written("error", each) for each in error.problems]
        print(as_json({"valid": False, "problems": problems, "models": 0, "replicas": 0}))
        return 1
    models, replicas = len(topology.models), len(topology.replicas)
    if arguments.json:
        problems = [_written("warning", each) for each in loaded.remarks]
        print(as_json({"valid": True, "problems": problems, "models": models, "replicas": replicas}))
        return 0
    for warning in loaded.warnings:
        print(f"warning: {warning}")
    print(f"{arguments.config}: valid; {models} models, {replicas} replicas")
    return 0


def _written(severity: str, problem: Problem) -> dict[str, object]:
    """As the admin API has it."""
    return {"severity": severity, "line": problem.line or 0, "key": dotted(problem.path), "text": problem.text}


def _render(arguments: argparse.Namespace) -> int:
    from extproc.control.render import render_static

    settings = _loader(arguments)().settings
    sys.stdout.write(render_static(settings, build(settings), processor_target=settings.processor_address))
    return 0


def _announce(text: str) -> None:
    print(text, flush=True)
