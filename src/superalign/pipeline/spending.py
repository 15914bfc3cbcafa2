"""On what terms models that speak are asked: the options of every command that asks them, and what they come to.

terms = terms_of(config, price=config.price, key_from=config.key_from)
plain = without_terms(config, SPENDING)      # what is done, whatever it may cost: names stages and runs
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from superalign.evidence import SuperalignError

if TYPE_CHECKING:
    from superalign.models.remote import Terms
    from superalign.pipeline.board_config import OversightConfig
    from superalign.pipeline.interpret_config import InterpretConfig

    C = TypeVar("C", OversightConfig, InterpretConfig)

Concurrency = Annotated[int, tyro.conf.arg(help="Requests under way at once, to each model that speaks.")]
PerMinute = Annotated[int | None, tyro.conf.arg(help="Requests a minute to each, at most.")]
TokensPerMinute = Annotated[int | None, tyro.conf.arg(help="Tokens a minute to each, at most.")]
Timeout = Annotated[float, tyro.conf.arg(help="Seconds that one request may take.")]
Retries = Annotated[int, tyro.conf.arg(help="Further tries of a request that failed.")]
Price = Annotated[
    tuple[float, float] | None,
    tyro.conf.arg(help="USD for a million tokens, read and written. Needed for a limit; 0 0 for a server of your own."),
]
Limit = Annotated[
    float | None,
    tyro.conf.arg(
        help="USD that this workspace may spend on these models in all: no request is sent that could cross it."
    ),
]
DryRun = Annotated[
    bool,
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.arg(help="Say what asking would cost at most, and stop: nothing is sent, nothing is written."),
]
SPENDING = (
    "concurrency", "per_minute", "tokens_per_minute", "timeout", "retries", "price", "limit", "key_from", "dry_run",
)  # fmt: skip
"""Names of these options, and `key_from`, whose default each command words for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEstimate:
    """One part of the work, as a cell of a leaderboard: what would be sent for it, at most."""

    cell: str
    """Its name."""
    calls: int
    read: int
    written: int
    usd: float | None
    """At most; None where no price is known."""
    least: float | None
    """USD at least; 0 where some of it was asked before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of all of it."""

    cells: tuple[CellEstimate, ...]
    calls: int
    read: int
    written: int
    usd: float | None
    least: float | None
    spent: float
    """USD that this workspace has paid to these models already."""
    limit: float | None
    over: str = ""
    """The cell in which the limit could be reached; empty where it can't."""


def estimate_of(cells: Sequence[CellEstimate], *, spent: float, limit: float | None) -> Estimate:
    """The sums, and where the limit could be reached. A price that is unknown leaves them unknown."""
    found = Estimate(
        cells=tuple(cells),
        calls=sum(cell.calls for cell in cells),
        read=sum(cell.read for cell in cells),
        written=sum(cell.written for cell in cells),
        usd=_sum([cell.usd for cell in cells]),
        least=_sum([cell.least for cell in cells]),
        spent=spent,
        limit=limit,
    )
    return replace(found, over=_over(found))


def enough(found: Estimate, what: str, instead: str) -> Estimate:
    """The estimate, unless even its least is over the limit: then SpendingLimit is raised, for nothing was sent yet.

    what: who would cost that much, as in "this board"; instead: what else may be done than to raise the limit.
    """
    from superalign.models.remote import SpendingLimit

    if found.limit is None or not found.calls or found.least is None or found.spent + found.least <= found.limit:
        return found
    raise SpendingLimit(
        f"{what} would cost at least {found.least:.4f} USD"
        + (f" beside the {found.spent:.4f} that are spent" if found.spent else "")
        + f", and --limit is {found.limit:.4f}: nothing was sent; raise the limit, or {instead}"
    )


def _sum(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _over(found: Estimate) -> str:
    total = found.spent
    for cell in found.cells:
        total += cell.usd or 0.0
        if found.limit is not None and cell.calls and total > found.limit:
            return cell.cell
    return ""


def terms_of(config: OversightConfig | InterpretConfig, *, price: tuple[float, float] | None, key_from: str) -> Terms:
    """The terms for one of the models: without the limit, which may hold for several together."""
    from superalign.models.remote import Terms

    return Terms(
        concurrency=config.concurrency,
        requests_per_minute=config.per_minute,
        tokens_per_minute=config.tokens_per_minute,
        retries=config.retries,
        timeout=config.timeout,
        price_in=price[0] if price else None,
        price_out=price[1] if price else None,
        key_from=key_from,
    )


def without_terms(config: C, names: Collection[str]) -> C:
    """The same options, those of these names at their defaults."""
    usual: dict[str, Any] = {f.name: f.default for f in fields(config) if f.name in names}
    return replace(config, **usual)


def priceless(address: str) -> SuperalignError:
    """What to raise where a limit is set, and nobody says what a model costs."""
    return SuperalignError(
        f"--limit is set, but what {address} costs is unknown: give --price, in USD for a million tokens read "
        "and written (0 0 for a server of your own)"
    )
