"""Advisers: whoever reads everything, and chooses what the judge gets to see."""

from superalign.oversight.advisers.evidence import EvidenceAdviser
from superalign.oversight.advisers.search import SearchAdviser, against

__all__ = ["EvidenceAdviser", "SearchAdviser", "against"]
