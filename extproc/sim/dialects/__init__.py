"""The endpoints that a replica serves, by path."""

from __future__ import annotations

from extproc.sim.dialects.chat import Chat
from extproc.sim.dialects.completions import Completions
from extproc.sim.dialects.embeddings import Embeddings
from extproc.sim.dialects.messages import Messages
from extproc.sim.dialects.responses import Responses
from extproc.sim.reply import Dialect

_ALL: tuple[Dialect, ...] = (Chat(), Completions(), Responses(), Embeddings(), Messages())
DIALECTS: dict[str, Dialect] = {dialect.path: dialect for dialect in _ALL}
