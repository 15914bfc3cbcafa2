"""Tasks: items with exact truths, and the audit that a blind attacker must fail. Needs numpy only."""

from superalign.tasks.audit import AuditResult, audit
from superalign.tasks.faults import Fault, synthetic_faults
from superalign.tasks.item import SPLITS, Item, Page
from superalign.tasks.lexer import Lexed, lex
from superalign.tasks.mutants import Mutant, load_mutants, mutants
from superalign.tasks.own import OwnData, own_data
from superalign.tasks.own_pages import own_page
from superalign.tasks.pixels import pixels
from superalign.tasks.preferences import preferences, write_preferences
from superalign.tasks.rules import rules
from superalign.tasks.slips import Slip, slips
from superalign.tasks.traces import traces

__all__ = [
    "SPLITS",
    "AuditResult",
    "Fault",
    "Item",
    "Lexed",
    "Mutant",
    "OwnData",
    "Page",
    "Slip",
    "audit",
    "lex",
    "load_mutants",
    "mutants",
    "own_data",
    "own_page",
    "pixels",
    "preferences",
    "rules",
    "slips",
    "synthetic_faults",
    "traces",
    "write_preferences",
]
