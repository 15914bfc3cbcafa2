"""What can be wrong with a model address, each its own error."""

from __future__ import annotations

from superalign.evidence.errors import SuperalignError


class ModelError(SuperalignError):
    """A model cannot be used; the message says which, where and what to do."""


class Unaskable(ModelError):
    """Every further request would fail as well: a key that is refused, money that is spent, nobody at an address."""


class QuarantineError(ModelError):
    """An organism or twin was addressed without `allow_organism=True`."""
