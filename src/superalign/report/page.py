"""`write_dossier`: one self-contained HTML file, compiled from a workspace's ledger and from nothing else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from superalign.evidence import ObjectStore, SuperalignError, Workspace
from superalign.report.appendix import costs_section, events_section, verify_section
from superalign.report.compile import compile_dossier
from superalign.report.front import TOY, front, undetected_section, verdict_section
from superalign.report.gallery import gallery_section
from superalign.report.graph import lineage_section
from superalign.report.html import shell, tag, together
from superalign.report.sections import stress_section, train_section, validate_section
from superalign.report.text import short
from superalign.report.tried import tried_section
from superalign.report.views import Dossier

MAX_FIGURE = 32 << 20


def write_dossier(workspace: Workspace | Path, out: Path) -> Path:
    """Write the dossier of a workspace to `out`, whole or not at all, and return `out`.

    A path is opened for reading only, a Workspace is used as it is; either way only ledger and objects are read, and
    the same events give the same bytes. Raises SuperalignError where the workspace can't be read.

    >>> write_dossier(Path(".superalign"), Path("dossier.html"))   # doctest: +SKIP
    """
    if isinstance(workspace, Workspace):
        page = render(compile_dossier(workspace.ledger.events(), reader(workspace.store)))
    else:
        with Workspace.open(Path(workspace), create=False, write=False) as opened:
            page = render(compile_dossier(opened.ledger.events(), reader(opened.store)))
    return put(page, Path(out))


def render(dossier: Dossier) -> str:
    """The page of a view, as text; needs no ledger."""
    sections = together(
        front(dossier),
        verdict_section(dossier),
        undetected_section(dossier),
        train_section(dossier),
        validate_section(dossier),
        stress_section(dossier),
        lineage_section(dossier.lineage, dossier.subject),
        gallery_section(dossier.gallery),
        tried_section(dossier),
        costs_section(dossier),
        verify_section(dossier),
    )
    body = together(tag("p", TOY, class_="toy"), tag("main", sections, events_section(dossier.lines, sections)))
    name = f"Dossier: {short(dossier.subject)}" if dossier.subject else "Dossier: no subject"
    return shell(name, body)


def reader(store: ObjectStore) -> Any:
    """Objects as JSON, small ones only: a stranger's workspace must not fill the memory."""

    def get_json(digest: str) -> Any:
        path = store.path(digest)
        if path.is_file() and path.stat().st_size > MAX_FIGURE:
            raise SuperalignError(f"object {digest[:12]}… is over {MAX_FIGURE >> 20} MiB: too large for a figure")
        return store.get_json(digest)

    return get_json


def put(page: str, out: Path) -> Path:
    """Write beside the target and rename, so that nobody ever reads half a page."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        Path(name).chmod(0o644)
        os.replace(name, out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return out
