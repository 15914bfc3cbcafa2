"""Models behind APIs: asked many at once, again where that helps, never twice for what was paid for.

Standard library only, but for `inspect:`, which needs the extra `[inspect]`.
"""

from superalign.models.remote.calling import Line, RemoteSpeaker, Tally
from superalign.models.remote.keeping import Kept, KeptOnly, KeptRow, KeptSpeaker, Paid
from superalign.models.remote.spending import Estimate, Price, Purse, estimate
from superalign.models.remote.terms import KeptError, KeyRefused, QuotaSpent, SpendingLimit, Terms, WrongAddress

__all__ = [
    "Estimate",
    "Kept",
    "KeptError",
    "KeptOnly",
    "KeptRow",
    "KeptSpeaker",
    "KeyRefused",
    "Line",
    "Paid",
    "Price",
    "Purse",
    "QuotaSpent",
    "RemoteSpeaker",
    "SpendingLimit",
    "Tally",
    "Terms",
    "WrongAddress",
    "estimate",
]
