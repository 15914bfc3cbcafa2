"""The workspace: a folder with ledger, object store and sealed truths, and the verbs that write there."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .canonical import Digest, plain
from .claims import in_distribution
from .commitment import commitment
from .errors import BadEvent, Tampered, Unwritable, disk_errors, refusal
from .events import Event
from .fingerprints import Grams
from .firewall import add_planned, check_use
from .keys import PERSON, Entropy, Passphrase, ask_passphrase, default_keys_dir
from .ledger import Clock, Ledger
from .lineage import QUARANTINE, UNKNOWN, Edge
from .lock import WorkspaceLock
from .opening import check_places, open_ledger, read_clusters, read_grams
from .rules import check_event
from .state import State
from .store import ObjectStore
from .truth import SealedStore, TruthHandle, seal
from .types import Claim, Family, Measurement, Signal, TaintPath, Use, body_of


class Workspace:
    """Open with `Workspace.open(path)`, as a context manager; one writer at a time.

    >>> with Workspace.open(Path("run1")) as ws:   # doctest: +SKIP
    ...     ws.node(kind="model", digest=digest, name="m")
    """

    def __init__(self, path: Path, ledger: Ledger, lock: WorkspaceLock | None, entropy: Entropy) -> None:
        self.path, self.ledger, self._lock, self.entropy = path, ledger, lock, entropy
        self.store = ObjectStore(path / "objects", path / "tmp")
        self.sealed = SealedStore(path / "sealed")
        self._state = State(self._clusters, self._grams)
        self._folded, self._epoch = 0, 0

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create: bool = True,
        clock: Clock | None = None,
        keys_dir: Path | None = None,
        write: bool = True,
        entropy: Entropy | None = None,
        passphrase: Passphrase = ask_passphrase,
    ) -> Self:
        """Open, or create, the workspace at `path`.

        `clock` (seconds since 1970) and `entropy` (n → n bytes, for ids, keys and salts) can be injected, so that a
        ledger reproduces; `passphrase` is called when the person's key is needed. `write=False` takes no lock and
        writes nothing. Raises WorkspaceMissing, WorkspaceLocked, NewerFormat, Tampered, DiskFull or Unwritable.
        """
        path = Path(path)
        file = path / "ledger.sqlite"
        entropy = entropy or secrets.token_bytes
        keys = Path(keys_dir) if keys_dir else default_keys_dir()
        check_places(path, keys, may_create=create and write)
        lock = None
        if write:
            with disk_errors(path, "making the workspace"):
                path.mkdir(parents=True, exist_ok=True)
            lock = WorkspaceLock(path / "lock")
        try:
            ledger = open_ledger(file, keys, clock or time.time, entropy, write=write, passphrase=passphrase)
        except BaseException:
            if lock:
                lock.release()
            raise
        if write:
            shutil.rmtree(path / "tmp", ignore_errors=True)
        workspace = cls(path, ledger, lock, entropy)
        ledger.guard = workspace._guard
        return workspace

    def close(self) -> None:
        """Close the ledger and let the next process in."""
        self.ledger.close()
        if self._lock:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def state(self) -> State:
        """Lineage, roles and aliases as of the last event."""
        if self._epoch != self.ledger.epoch:
            self._state, self._folded, self._epoch = State(self._clusters, self._grams), 0, self.ledger.epoch
        for event in self.ledger.since(self._folded):
            self._folded += 1
            self._state.fold(event)
        return self._state

    def _guard(self, event: Event) -> None:
        """Nothing is stored that the rules refuse or that contradicts what is stored."""
        check_event(self.state, event.type, event.body, event.actor)
        self._state.fold(event)
        self._folded = event.seq + 1

    def enrol(self) -> None:
        """Enrol the person who reviews: their key is made under a passphrase and named in the ledger. Idempotent.

        Until then nothing here is signed by a person. Raises KeyMissing when nobody gives a passphrase.
        """
        if PERSON in self.ledger[0].body["keys"] or self.ledger.events("enrol"):
            return
        if self.ledger.keyring is None:
            raise Unwritable(f"{self.path} was opened for reading: open it with write=True to enrol a {PERSON}")
        key = self.ledger.keyring.enrol(self.entropy)
        self.ledger.append("enrol", {"principal": PERSON, "key": key}, actor="notary")

    # --- lineage

    def node(
        self,
        *,
        kind: str,
        digest: Digest,
        name: str,
        quarantined: bool = False,
        meta: Mapping[str, Any] | None = None,
        actor: str = "trainer",
    ) -> None:
        """Register a model, data set, signal or session; saying it twice changes nothing."""
        known = self.state.graph.nodes.get(digest)
        if known is not None and known.agrees(kind, quarantined):
            return
        body = {
            "kind": kind,
            "digest": digest,
            "name": name,
            "quarantined": quarantined,
            "meta": dict(meta or {}),
        }
        self.ledger.append("node", body, actor=actor)

    def signal(self, signal: Signal, *, actor: str = "evaluator") -> None:
        """Register a signal (it is a node too); from then on its family's role is only lowered (R4)."""
        if self.state.signals.get(signal.digest) == signal:
            return
        self.ledger.append("signal", body_of(signal), actor=actor)

    def contains(
        self,
        data_digest: Digest,
        *,
        families: Sequence[tuple[str, str, str] | Family],
        clusters_digest: Digest | None = None,
        quarantined: bool = False,
        name: str = "data",
        actor: str = "trainer",
    ) -> None:
        """Say which families a data set holds (none: `families=[]`); registers the data set if it isn't yet.

        `clusters_digest` is an object, a JSON list of cluster ids: it lets R3 see that two parts are apart.
        """
        names = sorted({str(f if isinstance(f, Family) else _family(f)) for f in families})
        if data_digest not in self.state.graph.nodes or quarantined:
            self.node(kind="data", digest=data_digest, name=name, quarantined=quarantined, actor=actor)
        if (data_digest, tuple(names), clusters_digest) in self.state.described:
            return
        body = {"digest": data_digest, "families": names, "clusters": clusters_digest}
        self.ledger.append("contains", body, actor=actor)

    def use(self, source: Digest, target: Digest, mode: str, *, actor: str = "trainer") -> None:
        """Write an edge, after the firewall allows it; FirewallError otherwise. Twice changes nothing."""
        Use(source, target, mode)  # its fields are checked here
        if (source, target, mode) in self.state.graph.edges:
            return
        self.ledger.append("edge", {"source": source, "target": target, "mode": mode}, actor=actor)

    def check_plan(self, uses: Sequence[Use]) -> None:
        """The same check before anything runs: raises for the first use to be refused; writes nothing."""
        state = self.state
        with state.graph.trial():
            for use in uses:
                add_planned(state, use)
                check_use(state, use)
                state.graph.add_edge(Edge(use.source, use.target, use.mode))

    def base(self, model_digest: Digest, *, reason: str) -> None:
        """Declare a common base: ancestry up to here isn't self-grading (R3). Signed by the notary."""
        if self.state.graph.bases.get(model_digest) == reason:
            return
        self.ledger.append("base", {"digest": model_digest, "reason": reason}, actor="notary")

    def demote(self, signal: Signal | Digest, role: str, reason: str = "", *, actor: str = "evaluator") -> None:
        """Lower the role of a signal's family, for good (R4)."""
        self._move("demote", signal, role, reason, actor)

    def promote(self, signal: Signal | Digest, role: str, reason: str) -> None:
        """Raise the role of a signal's family: the reviewer's alone, with a reason."""
        if not reason.strip():
            raise refusal("R4", "a promotion without a reason", role, "let the reviewer say why")
        self._move("promote", signal, role, reason, "reviewer")

    def taint(self, digest: Digest) -> dict[str, tuple[TaintPath, ...]]:
        """Family → the ways it reached this node (holds, fit, select, read), each with its path."""
        graph = self.state.graph
        self._must_have(digest)
        found: dict[str, tuple[TaintPath, ...]] = {}
        for token in sorted(graph.tokens(digest)):
            if token.family not in (UNKNOWN, QUARANTINE):
                found[token.family] = (*found.get(token.family, ()), graph.path(digest, token))
        return found

    # --- evidence

    def measure(self, measurement: Measurement, *, actor: str = "evaluator") -> int:
        """Record a measurement, after the firewall on (subject, signals); returns its sequence number.

        `in_distribution` is set when lineage says so, whatever was passed.
        """
        state, body = self.state, plain(body_of(measurement))
        for digest in measurement.inputs:
            if digest not in self.store and digest not in state.graph.nodes:
                raise refusal(
                    "R5",
                    f"{measurement.name} went in from {digest[:8]}…, which is nowhere",
                    digest[:8],
                    "store it (ws.store.put) or register it (ws.node) first",
                )
        subject = state.resolve(measurement.subject)
        if subject in state.graph.nodes and in_distribution(state, subject, measurement.signals):
            body["in_distribution"] = True
        return self.ledger.append("measurement", body, actor=actor).seq

    def claim(self, claim: Claim, *, actor: str = "evaluator") -> int:
        """Record a claim, after R1–R6 were recomputed from the ledger for every measurement under it."""
        return self.ledger.append("claim", body_of(claim), actor=actor).seq

    # --- sealed

    def seal(self, task_split: str, truths: Mapping[str, Any]) -> Digest:
        """Commit to truths (item id → JSON) and put them away; returns the root. Idempotent."""
        return seal(self.ledger, self.store, self.sealed, task_split, truths, self.entropy)

    def evaluator(self) -> TruthHandle:
        """The handle that opens sealed truth; needs the evaluator's key, and logs each split it opens."""
        if self.ledger.keyring is not None:
            self.ledger.keyring.private("evaluator")
        return TruthHandle(self.ledger, self.store, self.sealed)

    def alias(self, alias: str, subject: str) -> None:
        """Register an opaque alias for a subject (`name@digest`) under a salted commitment. Idempotent."""
        commitments = self.state.commitments
        if alias in commitments:
            kept = self.sealed.read(commitments[alias])
            if kept["subject"] != subject:
                raise Tampered(f"alias {alias!r} was committed to another subject: choose another alias")
            return
        salt = self.entropy(32).hex()
        promise = commitment(alias, salt, subject)
        self.sealed.write(promise, {"alias": alias, "salt": salt, "subject": subject})
        self.ledger.append("alias", {"alias": alias, "commitment": promise}, actor="evaluator")

    def unseal(self, alias: str) -> str:
        """Open an alias for everyone and return its subject; from here on its numbers can carry claims."""
        state = self.state
        if alias in state.aliases:
            return state.aliases[alias]
        if alias not in state.commitments:
            raise BadEvent(f"{alias!r} is not a registered alias: see ws.ledger.events('alias')")
        kept = self.sealed.read(state.commitments[alias])
        body = {"alias": alias, "subject": kept["subject"], "salt": kept["salt"]}
        if commitment(alias, body["salt"], body["subject"]) != state.commitments[alias]:
            raise Tampered(f"the sealed file of alias {alias!r} was changed: restore sealed/ from a copy")
        self.ledger.append("unseal", body, actor="evaluator")
        return str(kept["subject"])

    def checkpoint(self) -> Digest:
        """Write a checkpoint and return its root, to be kept by someone else (`verify --anchor ROOT`)."""
        return self.ledger.checkpoint()

    # --- inside

    def _move(self, type: str, signal: Signal | Digest, role: str, reason: str, actor: str) -> None:
        digest = signal.digest if isinstance(signal, Signal) else signal
        known = self.state.signals.get(digest)
        if known is not None and self.state.role_of(known.family) == role:
            return
        self.ledger.append(type, {"signal": digest, "role": role, "reason": reason}, actor=actor)

    def _must_have(self, digest: Digest) -> None:
        if digest not in self.state.graph.nodes:
            raise refusal(
                "R5",
                f"{digest[:8]}… has no node, so it counts as tainted by everything",
                digest[:8],
                "register it first with ws.node",
            )

    def _clusters(self, digest: Digest) -> frozenset[str] | None:
        return read_clusters(self.store, digest)

    def _grams(self, digest: Digest) -> Grams | None:
        return read_grams(self.store, digest)

    def grams(self, digest: Digest) -> Grams:
        """The fingerprint stored under that digest; Tampered where it's missing or damaged."""
        if (found := self._grams(digest)) is None:
            raise Tampered(f"the fingerprint {digest[:8]}… is missing or damaged: restore the workspace from a copy")
        return found


def _family(parts: tuple[str, str, str]) -> Family:
    source, task, split = parts
    return Family(source=source, task=task, split=split)
