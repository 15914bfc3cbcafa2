"""What a model costs: as the terms say, else as Inspect knows it.

    price_of(terms, model)          # model: Inspect's Model, or None

Inspect ships no prices of its own; it knows those that `set_model_cost`, or its `--model-cost-config`, told it.
"""

from __future__ import annotations

from typing import Any

from superalign.models.remote.spending import Price
from superalign.models.remote.terms import Terms


def price_of(terms: Terms, model: Any = None) -> Price | None:
    """USD for a million tokens; None where nobody says. Prices of 0 in the terms are prices."""
    if terms.price_in is not None and terms.price_out is not None:
        return Price(read=terms.price_in, written=terms.price_out, source="terms")
    if model is None:
        return None
    from inspect_ai.model import get_model_info

    info = get_model_info(model)
    if info is None or info.cost is None:
        return None
    return Price(read=max(info.cost.input, info.cost.input_cache_write), written=info.cost.output, source="inspect")
