"""Fleet state and a request -> an ordered list of replicas, and the reason. One file per strategy."""

from extproc.routing.assess import Option, assess
from extproc.routing.ranking import Candidate, Demand, Ranking, Score, Strategy
from extproc.routing.strategies import build_strategy

__all__ = ["Candidate", "Demand", "Option", "Ranking", "Score", "Strategy", "assess", "build_strategy"]
