"""Advisers: whoever reads everything, and chooses what the judge gets to see."""

from superalign.oversight.advisers.evidence import EvidenceAdviser
from superalign.oversight.advisers.pixel_search import PixelSearch
from superalign.oversight.advisers.plan import PlanAdviser
from superalign.oversight.advisers.search import SearchAdviser, against
from superalign.oversight.advisers.trained import TrainedAdviser, train_adviser

__all__ = [
    "EvidenceAdviser",
    "PixelSearch",
    "PlanAdviser",
    "SearchAdviser",
    "TrainedAdviser",
    "against",
    "train_adviser",
]
