"""An Inspect task as a validation Check: anybody's evaluation, with a role, behind the firewall.

    check = InspectCheck(task="inspect_evals/gsm8k", role="validation", provenance="public since 2021: Cobbe et al.")
    check.run(ws, "hf:/models/mine", log_dir=Path("logs"))            # asks the firewall first, then evaluates
    check.read(ws, Path("logs/theirs.eval"))                          # or takes a log that somebody else made

What is refused, before a token is spent: a model that was fitted to what the dataset holds (R1), a dataset or model of
which nobody said where it comes from (R5), a model that this dataset selected (R2). Whether a public dataset was in a
model's pretraining nobody can tell from its weights: say so in `provenance`, which goes into the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign.evidence import SuperalignError, Workspace
from superalign.evidence.claims import check_measurement
from superalign.inspecting.importing import Imported, Source, dataset_digest, import_log, register_source

if TYPE_CHECKING:
    from inspect_ai import Task


class CheckUnfit(SuperalignError):
    """An Inspect task that can't be a check; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectCheck:
    """One task of Inspect, and what its numbers may be used for."""

    task: str
    """As `inspect eval` takes it: PACKAGE/NAME, or file.py@NAME."""
    role: str = "validation"
    provenance: str = ""
    """Where its samples come from, and what is known of who has trained on them. Empty: unknown, and refused (R5)."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """Of the task."""

    def made(self) -> Task:
        """The task. Raises CheckUnfit where Inspect finds none."""
        from inspect_ai.util import registry_create

        if "@" in self.task or self.task.endswith(".py"):
            raise CheckUnfit(f"{self.task}: run a task of a file with `inspect eval`, then import its log by read()")
        try:
            found: Any = registry_create("task", self.task, **self.args)
        except (LookupError, TypeError, ValueError) as error:
            raise CheckUnfit(f"{self.task}: Inspect makes no task of it ({error})") from error
        return found

    def planned(self, ws: Workspace, subject: str) -> Task:
        """The task, once the firewall has let its dataset judge `subject` (`name@digest`); FirewallError otherwise."""
        task = self.made()
        digest = dataset_digest(task.dataset)
        own = (task.metadata or {}).get("superalign", {})
        families = (
            tuple(sorted(f for f, _ in ws.state.graph.nodes[digest].holds)) if digest in ws.state.graph.nodes else ()
        )
        if not families and "family" in own:
            families = (own["family"],)
        source = Source(
            task=task.name.replace("/", " "), dataset=digest, families=families, name=task.dataset.name or task.name
        )
        signals = register_source(ws, source, ["planned"], role=self.role, provenance=self.provenance)
        body = {"name": f"inspect.{source.task}", "subject": subject, "signals": list(signals.values())}
        check_measurement(ws.state, {**body, "role": self.role, "tried": 1, "white_box": False})
        return task

    def run(self, ws: Workspace, address: str, *, log_dir: Path, base: str = "", **more: Any) -> Imported:
        """Evaluate the model at an address of superalign and take the log in. `more` goes to Inspect's `eval`.

        Raises FirewallError before anything is asked, CheckUnfit where the evaluation does not end well.
        """
        from inspect_ai import eval as evaluate

        from superalign.inspecting.naming import model_at

        model = model_at(address)
        local = model.api.local  # type: ignore[attr-defined]
        ws.node(kind="model", digest=local.digest, name=local.name, actor="evaluator")
        if base:
            ws.base(local.digest, reason=base)
        task = self.planned(ws, local.identity)
        (log,) = evaluate(task, model=model, log_dir=str(log_dir), display="none", **more)
        if log.status != "success":
            said = log.error.message if log.error else log.status
            raise CheckUnfit(f"{self.task} on {model}: the evaluation ended as {log.status}: {said:.200}")
        return self.read(ws, Path(str(log.location).removeprefix("file://")), base=base)

    def read(self, ws: Workspace, log: Path, *, base: str = "") -> Imported:
        """Take a log of this task in. Raises as `import_log` does."""
        said = self.args.get("task")  # of superalign's own tasks: the items, or a file of one's own
        data = Path(said.removeprefix("data:")) if isinstance(said, str) else None
        return import_log(ws, log, role=self.role, provenance=self.provenance, base=base, data=data)
