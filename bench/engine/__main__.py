"""`python -m bench.engine affinity|offload|tiers|chat|report`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from bench.common.errors import BenchFailed
from bench.common.processes import stop_on_sigterm
from bench.engine.affinity import affinity
from bench.engine.arguments import options, parse
from bench.engine.chat import chat_experiment
from bench.engine.experiment import Experiment
from bench.engine.offload import offload
from bench.engine.options import Options
from bench.engine.plots import draw
from bench.engine.report import write
from bench.engine.run import run
from bench.engine.tiers import tiers

_EXPERIMENTS: dict[str, Callable[[Options], Experiment]] = {
    "affinity": affinity,
    "offload": offload,
    "tiers": tiers,
    "chat": chat_experiment,
}


def main(argv: Sequence[str] | None = None) -> int:
    """0 if it could be measured, whatever came out; 1 says why not. What was measured before is kept."""
    arguments = parse(argv)
    stop_on_sigterm()
    try:
        if arguments.command == "report":
            write(arguments.take)
        else:
            chosen = options(arguments)
            summary = run(_EXPERIMENTS[arguments.command](chosen), chosen)
            print("\n".join(f"written: {path}" for path in draw(summary, chosen.out)))
    except BenchFailed as error:
        print(f"bench.engine: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench.engine: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
