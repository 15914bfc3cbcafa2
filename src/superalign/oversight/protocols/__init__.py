"""Protocols, one idea a file. A new one is a file and a line here; others come in by entry point.

`PROTOCOLS[name]` is the protocol with its usual number of turns; the functions in the files make others.
"""

from importlib.metadata import entry_points

from superalign.oversight.protocols.consultancy import consultancy, double_consultancy, open_consultancy
from superalign.oversight.protocols.controls import QUOTES, deference, ensemble, oracle, unaided
from superalign.oversight.protocols.critique import critique, critique_best_of, critique_of_critique
from superalign.oversight.protocols.debate import debate, debate_with_checks, propaganda
from superalign.oversight.protocols.decomposition import bisection, decomposition
from superalign.oversight.protocols.ladder import assisted, ladder, recursive_reward_modelling
from superalign.oversight.protocols.market import market_making
from superalign.oversight.protocols.prover_estimator import prover_estimator
from superalign.oversight.protocols.prover_verifier import prover_verifier
from superalign.oversight.table import Protocol


def shipped(budget: int = QUOTES) -> tuple[Protocol, ...]:
    """What ships, with `budget` pieces for a judge to read in one play."""
    if budget < 2:
        raise ValueError(f"a budget of {budget} pieces: a debate needs 2, one for either side")
    half = budget // 2
    return (
        unaided(quotes=budget),
        oracle(),
        deference(),
        ensemble(quotes=budget),
        consultancy(turns=budget),
        open_consultancy(turns=budget),
        double_consultancy(turns=half),
        critique(),
        critique(claims=3, checks=3),
        critique(claims=min(3, budget), discard=True),
        critique_best_of(drafts=min(4, budget)),
        critique_of_critique(),
        debate(turns=half),
        debate(turns=half, simultaneous=False),
        *((debate(turns=1, short=True),) if half > 1 else ()),
        debate_with_checks(),
        decomposition(),
        recursive_reward_modelling(quotes=budget),
        bisection(),
        market_making(turns=budget),
        prover_verifier(turns=budget),
        prover_estimator(leaf=budget),
    )


def protocols(budget: int = QUOTES) -> dict[str, Protocol]:
    """Name → protocol: ours, then those that other packages offer under `superalign.protocols`.

    Raises ValueError where two have one name, or when a debate has no room in the budget.
    """
    found: dict[str, Protocol] = {}
    for protocol in (*shipped(budget), *(entry.load() for entry in entry_points(group="superalign.protocols"))):
        if protocol.name in found:
            raise ValueError(f"there is a protocol {protocol.name!r} already: name the other one otherwise")
        found[protocol.name] = protocol
    return found


PROTOCOLS = protocols()

__all__ = [
    "PROTOCOLS",
    "QUOTES",
    "assisted",
    "bisection",
    "consultancy",
    "critique",
    "critique_best_of",
    "critique_of_critique",
    "debate",
    "debate_with_checks",
    "decomposition",
    "deference",
    "double_consultancy",
    "ensemble",
    "ladder",
    "market_making",
    "open_consultancy",
    "oracle",
    "propaganda",
    "protocols",
    "prover_estimator",
    "prover_verifier",
    "recursive_reward_modelling",
    "shipped",
    "unaided",
]
