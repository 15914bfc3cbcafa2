"""What a protocol is known by: its rules, to the last constant, never its name alone.

A protocol of another package that has changed under its old name is another protocol; what was played by the old rules
is not taken for what the new ones would say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any

from superalign.oversight.table import Protocol


def rules_digest(protocol: Protocol) -> str:
    """SHA-256 over title, seats, sides and the code of play and training, with all that these functions close over.

    The same on one version of Python only, whose compiler makes the code; functions that they call are not looked into.

    >>> from superalign.oversight.protocols import debate
    >>> rules_digest(debate(turns=1)) == rules_digest(debate(turns=1)), rules_digest(debate(turns=2))[:0]
    (True, '')
    """
    stated = [protocol.title, list(protocol.seats), protocol.sides, protocol.referee, protocol.record]
    rules = [stated, _known(protocol.play, []), _known(protocol.train, [])]
    return hashlib.sha256(json.dumps(rules, default=repr).encode()).hexdigest()


def fitted_digest(players: Mapping[str, Any]) -> str:
    """SHA-256 over what the judge, and whoever estimates for it, were fitted to be, down to what they are made from."""
    parts: list[Any] = []
    for player in (players["judge"], players.get("estimator")):
        while player is not None:
            net = getattr(player, "net", None)
            own = player.digest if hasattr(player, "digest") else list(getattr(player, "weights", ()))
            parts.append([type(player).__name__, own, net.digest if net else ""])
            player = getattr(player, "judge", None)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _known(value: Any, above: list[int]) -> Any:
    """A value as JSON that is the same in another process: functions by their code, what refers to itself once."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if id(value) in above:
        return "as above"
    inside = [*above, id(value)]
    if isinstance(value, tuple | list | frozenset | set):
        parts = [_known(part, inside) for part in value]
        return sorted(parts, key=repr) if isinstance(value, frozenset | set) else parts
    if isinstance(value, CodeType):
        return [value.co_code.hex(), list(value.co_names), [_known(part, inside) for part in value.co_consts]]
    if isinstance(value, FunctionType):
        cells = [_known(cell.cell_contents, inside) for cell in value.__closure__ or ()]
        return [_known(value.__code__, inside), cells, _known(value.__defaults__, inside)]
    if isinstance(value, Protocol):
        return [value.name, value.title, _known(value.play, inside)]
    return f"{type(value).__module__}.{type(value).__qualname__}"
