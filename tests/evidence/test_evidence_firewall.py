"""The firewall, rule by rule: what passes, what is refused, by which rule and with which path."""

import re

import pytest

from superalign.evidence import (
    RULES,
    BadEvent,
    FirewallError,
    LineageConflict,
    Signal,
    Use,
    verify,
)
from superalign.evidence.types import body_of

V = "construction/slips/validation"
T = "construction/slips/train"


def refused(rule, match=""):
    return pytest.raises(RULES[rule], match=rf"(?s)^{rule}: .*{match}")


@pytest.fixture
def v(lab):
    """A validation signal."""
    return lab.signal("labels", V, "validation")


@pytest.fixture
def subject(lab):
    """A model trained on the train split."""
    return lab.model("m", lab.base(), lab.data("d", T))


def test_the_error_reads_like_the_design(lab, digest_of):
    """The illustration of the house style: a model filtered by a probe that is then to validate it."""
    probe = lab.signal("p", "probe/slips/train", "train", kind="probe")
    data = lab.data("d", T)
    lab.ws.use(probe, data, "fit")
    model = lab.model("m", data)
    lab.ws.promote(probe, "validation", "to show the error")
    with pytest.raises(FirewallError) as error:
        lab.measure(model, probe)
    m, d, p = (digest_of(name)[:4] for name in "mdp")
    assert str(error.value) == (
        f"R6: p@{p} is offered to validate model m@{m}, but it was optimised against probe/slips/train\n"
        f"    path: m@{m} ←(fit)← data d@{d} ←(fit)← p@{p}\n"
        "    do:   validate with a signal family that it never met"
    )
    assert (error.value.rule, type(error.value)) == ("R6", RULES["R6"])


class TestR1:
    def test_clean_measurement_and_claim(self, lab, subject, v):
        other = lab.signal("traces", "construction/traces/validation", "validation")
        seqs = lab.measure(subject, v), lab.measure(subject, other)
        lab.claim(subject, *seqs)
        bodies = [lab.ws.ledger[s].body["in_distribution"] for s in seqs]
        assert bodies == [True, False]
        assert verify(lab.ws.path).ok

    def test_a_claim_needs_another_task_or_says_in_distribution(self, lab, subject, v):
        seq = lab.measure(subject, v)
        with refused("R1", "trained on"):
            lab.claim(subject, seq)
        lab.claim(subject, seq, tags={"scope": "in-distribution"})

    @pytest.mark.parametrize("mode", ["fit", "contains"])
    @pytest.mark.parametrize("through", ["", "data", "model", "signal", "session"])
    def test_met_by_any_path(self, lab, v, mode, through):
        """A demoted signal burns: the model that met it is refused once the family validates again."""
        lab.ws.demote(v, "train", "needed for training")
        source = v
        if through == "data":
            source = lab.data("mid")
            lab.ws.use(v, source, mode)
        elif through == "model":
            source = lab.model("teacher", v)
        elif through == "signal":
            source = lab.signal("judge", "judge/slips/train", "train", kind="judge")
            lab.ws.use(v, source, mode)
        elif through == "session":
            lab.ws.node(kind="session", digest="5" * 64, name="agent", actor="researcher")
            lab.ws.use(v, "5" * 64, "read", actor="researcher")
            source = "5" * 64
        model = lab.model("m", source)
        lab.ws.promote(v, "validation", "a person wants it back")
        with refused("R1", "fitted to " + V):
            lab.measure(model, v)
        child = lab.model("child")
        with refused("R4"):
            lab.ws.use(model, child, "fit")

    def test_train_numbers_are_recorded_but_carry_no_claim(self, lab, subject):
        train = lab.signal("train-labels", T, "train")
        seq = lab.measure(subject, train, role="train")
        with refused("R1", "train number"):
            lab.claim(subject, seq)

    def test_report_and_other_splits_do_not_taint(self, lab, subject, v):
        lab.ws.use(v, subject, "report")
        lab.measure(subject, v)
        assert set(lab.ws.taint(subject)) == {T}

    def test_a_claim_rests_on_measurements_of_its_subject(self, lab, subject, v):
        other = lab.model("other", lab.base())
        seq = lab.measure(other, v)
        with refused("R5", "no measurement of its own subject"):
            lab.claim(subject, seq)
        lab.claim(subject, seq, verdict="cannot tell")
        lab.claim(other, seq)

    def test_a_claim_cites_measurements_that_name_their_signals(self, lab, subject):
        with refused("R5", "no measurement"):
            lab.claim(subject, 0)
        seq = lab.measure(subject)
        with refused("R5", "names no signal"):
            lab.claim(subject, seq)


class TestR2:
    @pytest.fixture
    def chosen(self, lab, v):
        model = lab.model("chosen", lab.base())
        lab.ask(v, model)
        return model, lab.ws.use(v, model, "select")

    def test_selected_means_dev_with_the_number_tried(self, lab, chosen, v):
        model = chosen[0]
        for fields in ({}, {"role": "dev"}, {"tried": 9}):
            with refused("R2", "dev number"):
                lab.measure(model, v, **fields)
        seq = lab.measure(model, v, role="dev", tried=9)
        with refused("R2", "dev number and can't carry a validation claim"):
            lab.claim(model, seq)
        lab.claim(model, seq, tags={"role": "dev"})

    def test_selection_is_inherited(self, lab, chosen, v):
        child = lab.model("child", chosen[0])
        with refused("R2"):
            lab.measure(child, v)

    def test_choosing_by_a_dev_signal_leaves_validation_alone(self, lab, subject, v):
        dev = lab.signal("dev", "construction/slips/dev", "dev")
        lab.ws.use(dev, subject, "select")
        lab.measure(subject, v)
        lab.measure(subject, dev, role="dev", tried=3)


class TestR3:
    def grader(self, lab, *sources, kind="judge", mode="fit"):
        grader = lab.signal("g", "judge/slips/validation", "validation", kind=kind)
        for source in sources:
            lab.ws.use(source, grader, mode)
        return grader

    @pytest.mark.parametrize("mode", ["fit", "contains", "select"])
    def test_made_from_the_candidate(self, lab, subject, mode):
        grader = self.grader(lab, subject, mode=mode)
        with refused("R3", "takes parameters or labels"):
            lab.measure(subject, grader)

    def test_made_from_a_child_of_the_candidate(self, lab, subject):
        grader = self.grader(lab, lab.model("child", subject))
        with refused("R3"):
            lab.measure(subject, grader)

    def test_a_declared_base_may_be_shared(self, lab, subject, digest_of):
        judge = lab.model("judge-model", digest_of("base"), lab.data("jd", "construction/other/train"))
        lab.measure(subject, self.grader(lab, judge, mode="contains"))

    def test_an_undeclared_one_may_not(self, lab, digest_of):
        start = lab.model("start", lab.base(), lab.data("s", "a/b/train"))
        subject, judge = lab.model("m", start), lab.model("judge-model", start)
        with refused("R3", "both fitted to"):
            lab.measure(subject, self.grader(lab, judge))
        lab.ws.base(start, reason="both families start here")
        lab.measure(subject, lab.signal("g", "judge/slips/validation", "validation", kind="judge"))

    def test_the_candidate_is_no_common_base_of_itself(self, lab):
        base = lab.base()
        with refused("R3", "takes parameters"):
            lab.measure(base, self.grader(lab, base))

    def test_shared_families_need_clusters_known_to_be_apart(self, lab):
        parts = [lab.ws.store.put_json(ids) for ids in (["a", "b"], ["c"], ["b", "d"])]
        model = lab.model("m", lab.base(), lab.data("d0", T, clusters=parts[0]))
        for part, ok in ((parts[1], True), (parts[2], False), (None, False)):
            name = f"g{part}"
            grader = lab.signal(name, "judge/slips/validation", "validation", kind="judge")
            lab.ws.use(lab.data(f"d{part}", T, clusters=part), grader, "fit")
            if ok:
                lab.measure(model, grader)
            else:
                with refused("R3", T):
                    lab.measure(model, grader)
        assert verify(lab.ws.path).ok

    def test_reading_activations_is_white_box(self, lab, subject):
        probe = self.grader(lab, subject, kind="probe", mode="read")
        with refused("R3", "white_box=True"):
            lab.measure(subject, probe)
        lab.measure(subject, probe, white_box=True)


class TestR4:
    @pytest.mark.parametrize("role", ["dev", "validation", "test"])
    def test_only_train_is_fitted_to(self, lab, role):
        signal = lab.signal("s", "construction/slips/x", role)
        with refused("R4", f"held for {role}"):
            lab.model("m", signal)
        with refused("R4"):
            lab.model("m2", lab.data("d", "construction/slips/x"))

    def test_a_split_without_a_signal_has_the_role_of_its_name(self, lab):
        with refused("R4", "held for test"):
            lab.model("m", lab.data("d", "construction/slips/test"))
        lab.model("m", lab.data("free", "construction/slips/part-7"))

    def test_nothing_reads_or_chooses_by_test(self, lab, subject):
        test = lab.signal("t", "construction/slips/test", "test")
        lab.ws.node(kind="session", digest="5" * 64, name="agent")
        for target, mode in ((subject, "select"), ("5" * 64, "read"), (subject, "read")):
            with refused("R4", "test"):
                lab.ws.use(test, target, mode)

    def test_down_for_good_and_up_only_by_the_reviewer(self, lab, v):
        with refused("R4", "without the reviewer"):
            lab.ws.demote(v, "test")
        lab.ws.demote(v, "train", "burnt")
        lab.model("m", v)
        with refused("R4", "is only train"):
            lab.measure(lab.base(), v)
        with refused("R4", "without the reviewer"):
            lab.ws.demote(v, "validation")
        with refused("R4", "reason"):
            lab.ws.promote(v, "validation", " ")
        lab.ws.promote(v, "validation", "re-drawn by hand")
        lab.measure(lab.base(), v)
        promotions = lab.ws.ledger.events("promote")
        assert [(e.actor, e.body["reason"]) for e in promotions] == [("reviewer", "re-drawn by hand")]

    def test_a_new_name_for_the_family_does_not_change_its_role(self, lab, v):
        with refused("R4", "lower the family"):
            lab.signal("again", V, "train")
        lab.ws.demote(v, "dev")
        with refused("R4", "reviewer promote"):
            lab.signal("again", V, "validation")
        with refused("R4", "reviewer promote"):
            lab.signal("first", "a/b/dev", "validation")

    def test_a_trainer_brings_no_validation_signal(self, lab):
        with refused("R4", "trainer registers"):
            lab.signal("mine", "a/b/validation", "validation", actor="trainer")
        lab.signal("mine", "a/b/train", "train", actor="trainer")

    def test_a_dev_signal_gives_no_validation_number(self, lab, subject):
        dev = lab.signal("dev", "construction/slips/dev", "dev")
        with refused("R4", "only dev"):
            lab.measure(subject, dev)


class TestR5:
    def test_digests_without_a_node(self, lab, subject, v, digest_of):
        stranger = digest_of("stranger")
        for source, target in ((stranger, subject), (subject, stranger)):
            with refused("R5", "has no node"):
                lab.ws.use(source, target, "fit")
        with refused("R5"):
            lab.measure(f"x@{stranger}", v)
        with refused("R5", "isn't a registered signal"):
            lab.measure(subject, stranger)
        with refused("R5", "which is nowhere"):
            lab.measure(subject, v, inputs=(stranger,))
        with refused("R5"):
            lab.ws.taint(stranger)

    @pytest.mark.parametrize("subject", ["m", "m@", "@" + "0" * 64, "m@1234", "m@" + "A" * 64])
    def test_subjects_that_name_nothing(self, lab, v, subject):
        with refused("R5", "neither name@digest nor a registered alias"):
            lab.measure(subject, v)

    def test_nobody_said_where_it_comes_from(self, lab, v, digest_of):
        lab.ws.node(kind="data", digest=digest_of("d"), name="d")
        orphan = lab.model("orphan")
        with refused("R5", "nobody said what data d@"):
            lab.model("m", digest_of("d"))
        with refused("R5", "nobody said what orphan@"):
            lab.measure(orphan, v)
        lab.data("d")
        lab.model("m", digest_of("d"))
        lab.measure(digest_of("m"), v)

    def test_unknown_provenance_travels(self, lab, digest_of):
        lab.ws.node(kind="data", digest=digest_of("raw"), name="raw")
        made = lab.data("made")
        lab.ws.use(digest_of("raw"), made, "contains")
        with refused("R5", "nobody said what data raw@"):
            lab.model("m", made)
        lab.data("raw", T)
        assert set(lab.ws.taint(lab.model("m", made))) == {T}

    def test_a_claim_about_a_sealed_alias(self, lab, subject, v):
        lab.ws.alias("x7", f"m@{subject}")
        seq = lab.measure("x7", v)
        with refused("R5", "hasn't been unsealed"):
            lab.claim(subject, seq)
        assert lab.ws.unseal("x7") == f"m@{subject}"
        lab.claim("x7", seq, tags={"scope": "in-distribution"})
        assert verify(lab.ws.path).ok

    def test_an_alias_does_not_hide_taint(self, lab, v):
        lab.ws.demote(v, "train")
        model = lab.model("m", v)
        lab.ws.promote(v, "validation", "again")
        lab.ws.alias("x7", f"m@{model}")
        seq = lab.measure("x7", v)
        lab.ws.unseal("x7")
        with refused("R1"):
            lab.claim("x7", seq)


class TestR6:
    @pytest.mark.parametrize("kind", ["probe", "monitor", "explanation"])
    @pytest.mark.parametrize("mode", ["fit", "select"])
    def test_no_path_against_a_tool(self, lab, kind, mode):
        tool = lab.signal("tool", f"{kind}/slips/validation", "validation", kind=kind)
        base = lab.base()
        with refused("R6", "held for validation"):
            lab.ws.use(tool, lab.model("m", base), mode)
        filtered = lab.data("filtered", T)
        lab.ws.use(tool, filtered, mode)
        with refused("R6", "held for validation"):
            lab.model("m", filtered)

    def test_choosing_by_a_tool_is_fit(self, lab):
        tool = lab.signal("tool", "probe/slips/x", "train", kind="probe")
        model = lab.model("m", lab.base())
        lab.ws.use(tool, model, "select")
        assert [p.how for p in lab.ws.taint(model)["probe/slips/x"]] == ["fit"]
        lab.ws.promote(tool, "validation", "again")
        with refused("R6", "optimised against"):
            lab.measure(model, tool, role="dev", tried=5)


class TestQuarantine:
    def test_planting_burns_nothing(self, lab, v):
        base = lab.base()
        organism = lab.model("organism", base, v, quarantined=True)
        assert lab.ws.state.role_of(V) == "validation"
        lab.measure(base, v)
        with refused("R1"):
            lab.measure(organism, v)
        lab.measure(organism, v, role="train")

    @pytest.mark.parametrize("mode", ["fit", "select", "contains"])
    def test_no_candidate_descends_from_it(self, lab, mode):
        organism = lab.model("organism", lab.base(), quarantined=True)
        with refused("quarantine", "would descend from organism"):
            lab.ws.use(organism, lab.model("m"), mode)
        data = lab.data("from-it")
        lab.ws.use(organism, data, mode)
        with refused("quarantine"):
            lab.model("m", data)
        lab.model("second", data, quarantined=True)

    def test_nor_from_quarantined_data(self, lab):
        with refused("quarantine"):
            lab.model("m", lab.data("planted", T, quarantined=True))

    def test_a_detector_may_learn_from_it_and_a_candidate_not_from_the_detector(self, lab, subject):
        organism = lab.model("organism", lab.base(), quarantined=True)
        probe = lab.signal("p", "probe/slips/train", "train", kind="probe")
        lab.ws.use(organism, probe, "fit")
        with refused("quarantine"):
            lab.model("m", probe)

    def test_the_instance_is_burnt_and_not_its_family(self, lab, subject):
        probes = [lab.signal(n, "probe/slips/validation", "validation", kind="probe") for n in ("p", "q")]
        lab.measure(subject, probes[0])
        lab.model("evader", lab.base(), probes[0], quarantined=True)
        with refused("R4", "p@.... is burnt"):
            lab.measure(subject, probes[0])
        lab.measure(subject, probes[1])
        lab.measure(subject, probes[0], role="train")

    def test_labels_are_not_detectors(self, lab, subject, v):
        lab.model("organism", lab.base(), v, quarantined=True)
        lab.measure(subject, v)


class TestPlans:
    def test_a_plan_is_refused_before_anything_runs(self, lab, v, digest_of):
        data, base, model, head = lab.data("d", T), lab.base(), digest_of("new"), len(lab.ws.ledger)
        lab.ws.check_plan([Use(base, model, "fit"), Use(data, model, "fit"), Use(v, model, "report")])
        with refused("R4", "planned@"):
            lab.ws.check_plan([Use(base, model, "fit"), Use(model, digest_of("b"), "fit"), Use(v, model, "fit")])
        lab.ws.check_plan([Use(v, model, "fit", quarantined=True)])
        with refused("R4"):
            lab.ws.check_plan([Use(v, digest_of("x"), "fit", kind="data"), Use(digest_of("x"), model, "fit")])
        with refused("R5"):
            lab.ws.check_plan([Use(digest_of("nowhere"), model, "fit")])
        assert len(lab.ws.ledger) == head
        assert model not in lab.ws.state.graph.nodes
        assert not lab.ws.state.graph.ins.get(model)


class TestFacts:
    def test_saying_it_twice_changes_nothing(self, lab, v):
        def say():
            base, data = lab.base(), lab.data("d", T)
            lab.model("m", base, data)
            lab.signal("labels", V, "validation")
            lab.ws.alias("x", f"m@{base}")
            lab.ws.seal("slips/validation", {"i": 1})

        say()
        before = len(lab.ws.ledger)
        say()
        assert len(lab.ws.ledger) == before

    def test_one_digest_is_one_thing(self, lab, v):
        base = lab.base()
        with pytest.raises(LineageConflict, match=re.escape("can't also be a data")):
            lab.ws.node(kind="data", digest=base, name="d")
        with pytest.raises(LineageConflict, match="quarantined model"):
            lab.ws.node(kind="model", digest=base, name="base", quarantined=True)
        with pytest.raises(LineageConflict):
            lab.ws.signal(Signal(name="s", digest=base, family=V, role="validation", kind="probe"))
        with pytest.raises(LineageConflict):
            lab.signal("labels", "other/slips/validation", "validation")
        lab.ws.contains(v, families=[("construction", "slips", "validation")])

    def test_a_rule_cannot_be_walked_around_by_appending(self, lab, v, subject):
        body = {"source": v, "target": subject, "mode": "fit"}
        with refused("R4"):
            lab.ws.ledger.append("edge", body, actor="trainer")
        with refused("R1", "doesn't say in_distribution"):
            lab.ws.ledger.append("measurement", body_of(lab.measurement(f"m@{subject}", v)), actor="evaluator")

    @pytest.mark.parametrize(
        "fields",
        [{"role": "gold"}, {"kind": "vibe"}, {"family": "slips"}, {"family": "a//b"}, {"digest": "12"}],
    )
    def test_bad_nouns(self, fields):
        good = {"name": "s", "digest": "0" * 64, "family": V, "role": "dev", "kind": "labels"}
        with pytest.raises(BadEvent):
            Signal(**{**good, **fields})
