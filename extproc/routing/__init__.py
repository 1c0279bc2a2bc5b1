"""Candidates, fleet state and a request -> an ordered list of replicas, and the reason. One file per strategy."""

from extproc.routing.ranking import Candidate, Ranking, Score, Strategy
from extproc.routing.strategies import build_strategy

__all__ = ["Candidate", "Ranking", "Score", "Strategy", "build_strategy"]
