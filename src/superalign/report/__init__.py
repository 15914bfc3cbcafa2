"""Reports: pages compiled from the ledger and from nothing else. `write_dossier(workspace, out)`."""

from superalign.report.page import write_dossier

__all__ = ["write_dossier"]
