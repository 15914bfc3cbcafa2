"""Evidence: the signed ledger, lineage, the firewall, sealed truth, `verify`. Format: docs/ledger.md."""

from . import holdout
from .anchor import Checkpoint, checkpoint_of, keep, read_checkpoint
from .budgets import Answers, Release
from .bundle import export, is_bundle, opened
from .canonical import Digest, canonical, is_digest, sha256
from .errors import (
    RULES,
    AboveItsRole,
    BadEvent,
    BudgetSpent,
    DiskFull,
    FirewallError,
    KeyMissing,
    LineageConflict,
    NewerFormat,
    NotAdmitted,
    NotAllowed,
    ObjectMissing,
    OptimisedAgainst,
    QuarantineLeak,
    SealBroken,
    SelectedByIt,
    SelfGrading,
    SuperalignError,
    Tampered,
    TrainedOnIt,
    UnknownProvenance,
    Unwritable,
    WorkspaceLocked,
    WorkspaceMissing,
)
from .events import FORMAT, TYPES, Event
from .findings import Finding
from .keys import PRINCIPALS
from .ledger import Ledger
from .merkle import merkle_root
from .store import ObjectStore
from .truth import TruthHandle
from .types import (
    MODES,
    ROLES,
    Claim,
    Family,
    Measurement,
    Signal,
    Step,
    TaintPath,
    Use,
    claim_of,
    measurement_of,
)
from .verify import VerifyReport, verify
from .workspace import Workspace

__all__ = [
    "FORMAT",
    "MODES",
    "PRINCIPALS",
    "ROLES",
    "RULES",
    "TYPES",
    "AboveItsRole",
    "Answers",
    "BadEvent",
    "BudgetSpent",
    "Checkpoint",
    "Claim",
    "Digest",
    "DiskFull",
    "Event",
    "Family",
    "Finding",
    "FirewallError",
    "KeyMissing",
    "Ledger",
    "LineageConflict",
    "Measurement",
    "NewerFormat",
    "NotAdmitted",
    "NotAllowed",
    "ObjectMissing",
    "ObjectStore",
    "OptimisedAgainst",
    "QuarantineLeak",
    "Release",
    "SealBroken",
    "SelectedByIt",
    "SelfGrading",
    "Signal",
    "Step",
    "SuperalignError",
    "TaintPath",
    "Tampered",
    "TrainedOnIt",
    "TruthHandle",
    "UnknownProvenance",
    "Unwritable",
    "Use",
    "VerifyReport",
    "Workspace",
    "WorkspaceLocked",
    "WorkspaceMissing",
    "canonical",
    "checkpoint_of",
    "claim_of",
    "export",
    "holdout",
    "is_bundle",
    "is_digest",
    "keep",
    "measurement_of",
    "merkle_root",
    "opened",
    "read_checkpoint",
    "sha256",
    "verify",
]
