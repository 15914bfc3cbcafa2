"""Evidence: the signed ledger, lineage, the firewall, sealed truth, `verify`. Format: docs/ledger.md."""

from .canonical import Digest, canonical, is_digest, sha256
from .errors import (
    AboveItsRole,
    BadEvent,
    DiskFull,
    FirewallError,
    KeyMissing,
    LineageConflict,
    NewerFormat,
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
    "TYPES",
    "AboveItsRole",
    "BadEvent",
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
    "NotAllowed",
    "ObjectMissing",
    "ObjectStore",
    "OptimisedAgainst",
    "QuarantineLeak",
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
    "claim_of",
    "is_digest",
    "measurement_of",
    "merkle_root",
    "sha256",
    "verify",
]
