"""``${VAR}`` and ``${VAR:-default}`` in configured text."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\})?")


class Unresolved(Exception):
    """A reference that has no value. The message names the variable, never a value."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """`text` with its references replaced; as in a shell, the default also stands in for an empty variable.

    ``$${`` is a literal ``${``. What a variable holds is not expanded again.

    Raises:
        Unresolved: a variable is unset and has no default, or a reference is malformed.
    """

    def value(match: re.Match[str]) -> str:
        if match.group() == "$${":
            return "${"
        name, default = match["name"], match["default"]
        if name is None:
            raise Unresolved(
                '"${" does not begin ${NAME} or ${NAME:-default}; write "$${" for the characters themselves'
            )
        found = env.get(name)
        if default is not None:
            return found or default
        if found is None:
            raise Unresolved(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        return found

    return _REFERENCE.sub(value, text)
