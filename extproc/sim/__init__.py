"""A simulated vLLM replica: real HTTP, a real KV-block cache, real metrics and KV events.

`Engine` is the model of the engine and knows no clock; `start` serves one over HTTP on the real clock. Nothing here
imports the gateway: a replica that shared its code would share its mistakes.
"""

from extproc.sim.engine import Engine
from extproc.sim.requests import EngineStats, Request, StepOutput
from extproc.sim.server import RunningSim, start
from extproc.sim.settings import EngineSettings, SimSettings

__all__ = ["Engine", "EngineSettings", "EngineStats", "Request", "RunningSim", "SimSettings", "StepOutput", "start"]
