"""Oversight: how a weak judge is helped to judge, and the gap between what a critic knows and what it tells."""

from superalign.oversight.critique import Checker, Critiques, claim_holds, criticise

__all__ = ["Checker", "Critiques", "claim_holds", "criticise"]
