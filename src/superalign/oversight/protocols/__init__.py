"""Protocols, one idea a file. A new one is a file and a line here; others come in by entry point.

`PROTOCOLS[name]` is the protocol with its usual number of turns; the functions in the files make others.
"""

from importlib.metadata import entry_points

from superalign.oversight.protocols.consultancy import consultancy, double_consultancy, open_consultancy
from superalign.oversight.protocols.controls import deference, ensemble, oracle, unaided
from superalign.oversight.protocols.critique import critique, critique_of_critique
from superalign.oversight.protocols.debate import debate, debate_with_checks
from superalign.oversight.protocols.decomposition import bisection, decomposition
from superalign.oversight.protocols.market import market_making
from superalign.oversight.protocols.prover_verifier import prover_verifier
from superalign.oversight.table import Protocol

OURS: tuple[Protocol, ...] = (
    unaided(),
    oracle(),
    deference(),
    ensemble(),
    consultancy(),
    open_consultancy(),
    double_consultancy(),
    critique(),
    critique(claims=3, checks=3),
    critique_of_critique(),
    debate(),
    debate(simultaneous=False),
    debate(turns=1),
    debate_with_checks(),
    decomposition(),
    bisection(),
    market_making(),
    prover_verifier(),
)
"""What ships."""


def protocols() -> dict[str, Protocol]:
    """Name → protocol: ours, then those that other packages offer under `superalign.protocols`.

    Raises ValueError where two have one name.
    """
    found = {protocol.name: protocol for protocol in OURS}
    for entry in entry_points(group="superalign.protocols"):
        protocol = entry.load()
        if protocol.name in found:
            raise ValueError(f"{entry.value}: there is a protocol {protocol.name!r} already: name it otherwise")
        found[protocol.name] = protocol
    return found


PROTOCOLS = protocols()

__all__ = [
    "PROTOCOLS",
    "bisection",
    "consultancy",
    "critique",
    "critique_of_critique",
    "debate",
    "debate_with_checks",
    "decomposition",
    "deference",
    "double_consultancy",
    "ensemble",
    "market_making",
    "open_consultancy",
    "oracle",
    "prover_verifier",
    "unaided",
]
