"""Report: pages compiled from the ledger, self-contained HTML."""

from superalign.report.dossier import compile_page, write_dossier
from superalign.report.view import View, read_view

__all__ = ["View", "compile_page", "read_view", "write_dossier"]
