"""The arguments of the commands that speak to a running gateway, and what each prints."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extproc.console.table import as_json

if TYPE_CHECKING:
    from extproc.console.link import Link, Whereabouts

Subparsers = Any  # argparse does not name their type
Command = Callable[[argparse.Namespace], int]

EXIT_STATUS = "exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no gateway answers, 4 not done in time"

_EXPLAIN = """\
examples:
  kvgate explain request.json
  kvgate explain -c fleet.yaml --json request.json | jq .replica
  echo '{"model": "demo-vl", "input": "Hello"}' | kvgate explain --path /v1/responses -
"""
_REPLICAS = """\
examples:
  kvgate replicas list
  kvgate replicas add --provider vllm --url http://10.0.0.7:8000 --name replica-7
  kvgate replicas drain replica-7 --wait          returns when its last request has ended
  kvgate replicas drain replica-7 --wait --timeout 300 && ssh replica-7 systemctl restart vllm
  kvgate replicas undrain replica-7
  kvgate replicas weight replica-7 0.5
  kvgate replicas remove replica-7

Changes lie over the configuration file: they stay when it is read again, and are gone at the gateway's next start.
"""
_TOP = """\
examples:
  kvgate top                                      Ctrl-C ends it
  kvgate top --once
  kvgate top --json | jq -c '[.replicas[] | {name, inflight, warm_share}]'
"""
_CACHES = """\
examples:
  kvgate caches stats
  kvgate caches flush                             everything
  kvgate caches flush team-a                      of that tenant, or of the scope that tenants share
"""
_CONFIG = """\
examples:
  kvgate config show                              what is in force, secrets masked
  kvgate config reload                            exit status 1, and why, if the file is not valid
"""


def add_to(commands: Subparsers, config: Callable[[argparse.ArgumentParser], None]) -> None:
    """Adds the commands.

    Args:
        config: adds the option that names the configuration file.
    """

    def command(group: Subparsers, name: str, text: str, run: Command, examples: str = "") -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = _parser(group, name, text, examples)
        config(parser)
        parser.add_argument("--port", type=int, help="of the gateway, if it was started with --port")
        parser.add_argument("--address", help="of its processor, unix:/path or host:port, if the file does not say")
        parser.add_argument("--json", action="store_true", help="print the answer as JSON")
        parser.set_defaults(command=run)
        return parser

    def group(name: str, text: str, examples: str) -> Subparsers:
        parser = _parser(commands, name, text, examples)
        return parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    _overview(command, commands)
    _add_replicas(command, group("replicas", "see and change the replicas of a running gateway", _REPLICAS))
    caches = group("caches", "the response caches of a running gateway", _CACHES)
    command(caches, "stats", "what they hold, and what became of look-ups", _caches_stats)
    flush = command(caches, "flush", "forget cached answers", _caches_flush)
    flush.add_argument("scope", nargs="?", default="", help="a tenant or a shared scope; without it, all")
    configuration = group("config", "the configuration of a running gateway", _CONFIG)
    command(configuration, "show", "what is in force, secrets masked", _config_show)
    command(configuration, "reload", "read the file again", _config_reload)


def _overview(command: Callable[..., argparse.ArgumentParser], commands: Subparsers) -> None:
    parser = command(commands, "top", "a running gateway on one screen: replicas, decisions", _top, _TOP)
    parser.add_argument("--once", action="store_true", help="one look; so it is without a terminal, too")
    parser.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="S", help="seconds between looks (default: 1)"
    )
    command(commands, "status", "how a running gateway is", _status)
    command(commands, "tenants", "what the tenants of a running gateway have spent", _tenants)
    text = "where a running gateway would send a request, and why; sends nothing"
    parser = command(commands, "explain", text, _explain, _EXPLAIN)
    parser.add_argument("request", metavar="FILE", help="the request's JSON body; - reads standard input")
    parser.add_argument("--path", default="/v1/chat/completions", help="the API it is for (default: %(default)s)")
    parser.add_argument("--session", default="", help="what its session header would say")


def _add_replicas(command: Callable[..., argparse.ArgumentParser], group: Subparsers) -> None:
    command(group, "list", "all of them", _replicas_list)
    parser = command(group, "add", "a further one; it gets requests once its health page answers", _replicas_add)
    parser.add_argument("--provider", required=True, help="of the configuration")
    parser.add_argument("--url", required=True, help="such as http://10.0.0.7:8000")
    parser.add_argument("--name", default="", help="default: host:port")
    parser.add_argument("--weight", type=float, default=1.0, help="share of traffic under strategies that go by it")
    for name, text, run in (
        ("remove", "take one out; what runs there ends well", _replicas_remove),
        ("drain", "let one finish what it has, and send it nothing new", _replicas_drain),
    ):
        parser = command(group, name, text, run)
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--force", action="store_true", help="even if a model is then served by nobody")
        if name == "drain":
            parser.add_argument("--wait", action="store_true", help="return when its last request has ended")
            parser.add_argument("--timeout", type=_seconds, metavar="S", help="wait no longer; exit status 4")
    command(group, "undrain", "send a draining one requests again", _replicas_undrain).add_argument(
        "name", metavar="NAME"
    )
    parser = command(group, "weight", "change its share of traffic", _replicas_weight)
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("weight", type=float, metavar="WEIGHT", help="above 0")


def _parser(group: Subparsers, name: str, text: str, examples: str) -> argparse.ArgumentParser:
    epilog = f"{examples}\n{EXIT_STATUS}" if examples else EXIT_STATUS
    parser: argparse.ArgumentParser = group.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError("must be above 0")
    return value


def _where(arguments: argparse.Namespace) -> Whereabouts:
    from extproc.console.link import Whereabouts

    config: Path = arguments.config
    return Whereabouts.of(config, port=arguments.port, address=arguments.address)


def _asked(arguments: argparse.Namespace, question: Callable[[Link], Any]) -> Any:
    from extproc.console.link import open_link  # imports grpc

    with open_link(_where(arguments)) as link:
        return question(link)


def _show(arguments: argparse.Namespace, answer: Any, text: str) -> int:
    print(as_json(answer) if arguments.json else text)
    return 0


def _top(arguments: argparse.Namespace) -> int:
    from extproc.console import top

    top.run(_where(arguments), interval_s=arguments.interval, one_look=arguments.once, json=arguments.json)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from extproc.admin.v1 import admin_pb2 as pb
    from extproc.console.link import as_data
    from extproc.console.overview import status_lines

    def question(link: Link) -> tuple[dict[str, Any], dict[str, Any]]:
        return (
            as_data(link.ask(lambda stub: stub.GetStatus, pb.GetStatusRequest())),
            as_data(link.ask(lambda stub: stub.GetStats, pb.GetStatsRequest())),
        )

    status, stats = _asked(arguments, question)
    return _show(arguments, {"status": status, "stats": stats}, status_lines(status, stats))


def _tenants(arguments: argparse.Namespace) -> int:
    from extproc.admin.v1 import admin_pb2 as pb
    from extproc.console.link import as_data
    from extproc.console.overview import tenant_lines

    answer = _asked(arguments, lambda link: as_data(link.ask(lambda stub: stub.ListTenants, pb.ListTenantsRequest())))
    return _show(arguments, answer, tenant_lines(answer["tenants"]))


def _explain(arguments: argparse.Namespace) -> int:
    from extproc.console.explain import as_table, ask, read_body

    body = read_body(arguments.request)
    answer = ask(_where(arguments), arguments.path, body, arguments.session)
    return _show(arguments, answer, as_table(answer))


def _caches_stats(arguments: argparse.Namespace) -> int:
    from extproc.admin.v1 import admin_pb2 as pb
    from extproc.console.link import as_data
    from extproc.console.overview import cache_lines

    answer = _asked(arguments, lambda link: as_data(link.ask(lambda stub: stub.GetCaches, pb.GetCachesRequest())))
    return _show(arguments, answer, cache_lines(answer))


def _caches_flush(arguments: argparse.Namespace) -> int:
    from extproc.admin.v1 import admin_pb2 as pb
    from extproc.console.link import as_data

    request = pb.FlushCachesRequest(scope=arguments.scope)
    answer = _asked(arguments, lambda link: as_data(link.ask(lambda stub: stub.FlushCaches, request)))
    return _show(arguments, answer, f"flushed: {', '.join(answer['scopes']) or 'everything'}")


def _config_show(arguments: argparse.Namespace) -> int:
    from extproc.admin.v1 import admin_pb2 as pb
    from extproc.console.link import as_data

    answer = _asked(arguments, lambda link: as_data(link.ask(lambda stub: stub.GetConfig, pb.GetConfigRequest())))
    changes = "".join(f"# over the file: {change}\n" for change in answer["changes"])
    return _show(arguments, answer, changes + answer["yaml"].rstrip())


def _config_reload(arguments: argparse.Namespace) -> int:
    from extproc.admin.v1 import admin_pb2 as pb
    from extproc.console.link import as_data

    answer = _asked(arguments, lambda link: as_data(link.ask(lambda stub: stub.ReloadConfig, pb.ReloadConfigRequest())))
    lines = [f"warning: {each}" for each in answer["warnings"]]
    lines.append(f"reloaded; {answer['models']} models, {answer['replicas']} replicas")
    return _show(arguments, answer, "\n".join(lines))


def _replicas_list(arguments: argparse.Namespace) -> int:
    from extproc.console import replicas

    found = _asked(arguments, replicas.listed)
    return _show(arguments, {"replicas": found}, replicas.as_lines(found))


def _replicas_add(arguments: argparse.Namespace) -> int:
    from extproc.console import replicas

    added = _asked(
        arguments,
        lambda link: replicas.add(link, arguments.provider, arguments.url, arguments.name, arguments.weight),
    )
    text = f"{added['name']} is added; it gets requests once its health page answers"
    return _show(arguments, added, text)


def _replicas_remove(arguments: argparse.Namespace) -> int:
    from extproc.console import replicas

    removed = _asked(arguments, lambda link: replicas.remove(link, arguments.name, force=arguments.force))
    return _show(arguments, removed, f"{removed['name']} is removed; {_left(removed)}")


def _replicas_drain(arguments: argparse.Namespace) -> int:
    from extproc.console import replicas

    def question(link: Link) -> dict[str, Any]:
        draining = replicas.drain(link, arguments.name, force=arguments.force)
        if not (arguments.wait or arguments.timeout):
            return draining
        return replicas.wait_until_empty(link, arguments.name, arguments.timeout)

    draining = _asked(arguments, question)
    return _show(arguments, draining, f"{draining['name']} drains; {_left(draining)}")


def _replicas_undrain(arguments: argparse.Namespace) -> int:
    from extproc.console import replicas

    back = _asked(arguments, lambda link: replicas.undrain(link, arguments.name))
    return _show(arguments, back, f"{back['name']} gets requests again ({back['state']})")


def _replicas_weight(arguments: argparse.Namespace) -> int:
    from extproc.console import replicas

    changed = _asked(arguments, lambda link: replicas.set_weight(link, arguments.name, arguments.weight))
    return _show(arguments, changed, f"{changed['name']} has weight {changed['weight']:g}")


def _left(replica: dict[str, Any]) -> str:
    left = replica["inflight"]
    return "nothing runs there" if not left else f"{left} request{'s' if left > 1 else ''} still run there"
