"""The dossier: one self-contained page compiled from the ledger and from nothing else."""

from __future__ import annotations

from pathlib import Path

from superalign.evidence import Workspace
from superalign.report import parts
from superalign.report.escape import esc
from superalign.report.shell import page
from superalign.report.view import View, read_view

TOY = "toy models and toy organisms; evidence about mechanisms and instruments, not about large models"


def compile_page(view: View) -> str:
    """The dossier's HTML."""
    runs = [body for _, body in view.bodies("run")]
    told = [claim["verdict"] for _, claim in view.bodies("claim")]
    asked = "How well do we know how aligned this code reviewer is? It was trained on labels of a weak supervisor, validated by "
    asked += "methods that never touched the training, and its checks were tried on models that deceive on purpose. "
    counts = (
        ", ".join(f"{told.count(v)} {v}" for v in dict.fromkeys(told)) or "no claim was made: the run is not finished"
    )
    head = f'<h1>Alignment dossier</h1><p class="toy">{TOY}</p><p>{asked}<b>{esc(counts)}.</b></p>'
    if not view.events:
        return page("superalign: dossier", head + '<p class="none">The ledger is empty: nothing was done yet.</p>')
    if runs:
        config, machine = runs[0]["config"], runs[0]["machine"]
        head += f'<p class="soft">Strong model {esc(config["model"])}, weak supervisor {esc(config["weak"])}, preset '
        head += f"{esc(config['preset'])}, seed {esc(config['seed'])}; superalign {esc(runs[0]['version'])}, "
        head += f"Python {esc(machine['python'])}, torch {esc(machine['torch'])}.</p>"
    written = (
        parts.verdicts,
        parts.undetected,
        parts.train,
        parts.validate,
        parts.stress,
        parts.family_tree,
        parts.gallery,
        parts.evidence,
    )
    return page("superalign: dossier", head + "".join(part(view) for part in written))


def write_dossier(workspace: Workspace | Path, out: Path) -> Path:
    """Compile the dossier of a workspace into `out`, whole or not at all; returns `out`."""
    if isinstance(workspace, Path):
        with Workspace.open(workspace, create=False, write=False) as ws:
            return write_dossier(ws, out)
    part = out.with_suffix(".part")
    part.write_text(compile_page(read_view(workspace)), encoding="utf-8")
    part.replace(out)
    return out
