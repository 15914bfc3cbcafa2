"""Detours round the firewall that somebody tried: each is refused, by the rule that it breaks."""

import pytest

from superalign.evidence import RULES, Answers, BadEvent, SuperalignError, Tampered, holdout, verify
from superalign.evidence.budgets import checked_settings

V, X, T = "construction/slips/validation", "construction/other/validation", "construction/slips/test"
TRAIN = "construction/slips/train"


def refused(rule, match=""):
    return pytest.raises(RULES[rule], match=rf"(?s)^{rule}: .*{match}")


@pytest.fixture
def v(lab):
    return lab.signal("v", V, "validation")


@pytest.fixture
def made(lab):
    """A model fitted to data that nobody said anything bad of."""
    return lab.model("m", lab.base(), lab.data("d", TRAIN))


class TestSaidTooLate:
    """What a model was made from is described after the fact."""

    @pytest.mark.parametrize("how", ["edge", "contains", "signal"])
    def test_data_turn_out_to_hold_validation(self, lab, v, made, digest_of, how):
        with refused("R4", r"m@.* would be fitted to construction/slips/validation"):
            if how == "edge":
                lab.ws.use(v, digest_of("d"), "contains")
            elif how == "contains":
                lab.data("d", V)
            else:
                lab.signal("d", V, "validation")
        lab.ws.demote(v, "train", "it was trained on")
        lab.data("d", V)
        with refused("R4", "only train"):
            lab.measure(made, v)

    def test_a_session_that_had_read_it(self, lab, v, digest_of):
        lab.ws.node(kind="session", digest=digest_of("s"), name="s", actor="researcher")
        lab.ws.use(lab.data("d"), digest_of("s"), "read", actor="researcher")
        with refused("R4", "shown"):
            lab.ws.use(v, digest_of("d"), "contains")

    def test_what_was_measured_before_is_undone(self, lab, v, made):
        seq = lab.measure(made, v)
        lab.ws.demote(v, "train", "it was trained on")
        lab.data("d", V)
        found = verify(lab.ws.path).findings
        assert [f.seq for f in found] == [seq]
        assert "R1" in found[0].what

    def test_a_candidate_of_what_was_read_off_an_organism(self, lab, v):
        organism = lab.model("organism", lab.base(), quarantined=True)
        read = lab.data("read off it")
        lab.ws.use(organism, read, "read")
        with refused("quarantine"):
            lab.model("m", lab.base(), read)

    def test_a_new_family_under_an_old_name(self, lab):
        lab.data("d", V)
        for spelling in ("construction/slips/Validation", "construction/slips/validation ", "construction/ſlips/x"):
            with pytest.raises(BadEvent, match="a lower-case word"):
                lab.data("e", spelling)


class TestShown:
    """What a model is shown in its prompt it is as good as fitted to."""

    @pytest.mark.parametrize("what", ["labels", "data"])
    def test_a_model_shown_validation(self, lab, v, what):
        model = lab.model("m", lab.base())
        with refused("R4", "shown"):
            lab.ws.use(v if what == "labels" else lab.data("some", V), model, "read")

    def test_a_model_shown_what_it_is_measured_by(self, lab):
        train = lab.signal("t", TRAIN, "train", actor="trainer")
        model = lab.model("m", lab.base())
        lab.ws.use(train, model, "read")
        lab.ws.promote(train, "validation", "nobody trained on it")
        with refused("R1"):
            lab.measure(model, train)


class TestGraders:
    """Graders that know the answer by another way than their own family."""

    def test_one_without_provenance(self, lab):
        judge = lab.signal("j", "judge/j/validation", "validation", "judge", known=False)
        model = lab.model("m", lab.base())
        with refused("R5", "nobody said what j@"):
            lab.measure(model, judge)
        lab.ws.use(lab.data("for j", "construction/j/train"), judge, "fit")
        lab.measure(model, judge)

    @pytest.mark.parametrize("first", ["labels", "judge"])
    def test_one_fitted_to_what_chose_the_model(self, lab, first):
        dev = lab.signal("dev", "construction/slips/dev", "dev", first)
        model = lab.model("m", lab.base())
        lab.ws.use(dev, model, "select")
        judge = lab.signal("j", "judge/j/validation", "validation", "judge", known=False)
        lab.ws.use(dev, judge, "fit")
        with refused("R2", "construction/slips/dev selected"):
            lab.measure(model, judge)
        lab.measure(model, judge, role="dev", tried=3)

    def test_one_shown_what_the_candidate_was_fitted_to(self, lab, made, digest_of):
        judge = lab.signal("j", "judge/j/validation", "validation", "judge", known=False)
        lab.ws.use(digest_of("d"), judge, "read")
        with refused("R3", "both fitted to"):
            lab.measure(made, judge)

    @pytest.mark.parametrize("base", ["d", "m"])
    def test_a_base_declared_to_hide_what_they_share(self, lab, made, digest_of, base):
        judge = lab.signal("j", "judge/j/validation", "validation", "judge", known=False)
        lab.ws.use(digest_of("d"), judge, "fit")
        if base == "d":
            with refused("R3", "no model, so it is no base"):
                lab.ws.base(digest_of("d"), reason="hide it")
        else:
            lab.ws.base(made, reason="hide it")
        with refused("R3", "both fitted to"):
            lab.measure(made, judge)

    def test_a_base_of_one_of_them_alone_hides_nothing(self, lab, made, digest_of):
        lab.ws.base(made, reason="the candidate starts here")
        candidate = lab.model("candidate", made)
        judge = lab.signal("j", "judge/j/validation", "validation", "judge", known=False)
        lab.ws.use(digest_of("d"), judge, "fit")
        with refused("R3", "both fitted to"):
            lab.measure(candidate, judge)
        other = lab.signal("k", "judge/k/validation", "validation", "judge", known=False)
        lab.ws.use(made, other, "fit")
        lab.measure(candidate, other)

    def test_a_base_is_finished(self, lab):
        base = lab.base()
        with refused("R3", "a declared base, and would be fitted on"):
            lab.ws.use(lab.data("d", TRAIN), base, "fit")


class TestScreens:
    """Data that nobody compared with what is held."""

    @pytest.fixture
    def held(self, lab, v):
        holdout.fingerprint(lab.ws, V, [["a"] * 20])

    def test_an_alias_does_not_hide_it(self, lab, v, held, made):
        with refused("R5", "nobody compared"):
            lab.measure(made, v)
        lab.ws.alias("a1", f"m@{made}")
        seq = lab.ws.measure(lab.measurement("a1", v))
        lab.ws.unseal("a1")
        with refused("R5", "nobody compared"):
            lab.claim(made, seq, tags={"scope": "in-distribution"})

    @pytest.mark.parametrize("way", ["no families", "labels too", "a base"])
    def test_other_names_for_it(self, lab, v, held, way):
        data = lab.data("d") if way == "no families" else lab.data("d", TRAIN)
        if way == "labels too":
            lab.signal("d", TRAIN, "train", actor="trainer")
        model = lab.model("m", lab.base(), data)
        if way == "a base":
            lab.ws.base(model, reason="it came first")
        with refused("R5", "nobody compared"):
            lab.measure(model, v)

    def test_a_fingerprint_taken_afterwards(self, lab, v, made):
        seq = lab.measure(made, v)
        holdout.fingerprint(lab.ws, V, [["a"] * 20])
        with refused("R5", "nobody compared"):
            lab.claim(made, seq, tags={"scope": "in-distribution"})

    def test_a_screen_of_nothing(self, lab, held, made, digest_of):
        with pytest.raises(BadEvent, match="compared no item"):
            holdout.screen(lab.ws, digest_of("d"), [])


class TestSelection:
    def test_asking_about_the_base_pays_for_no_child(self, lab, v):
        base = lab.base()
        lab.ask(v, base)
        with refused("budget", "never asked"):
            lab.ws.use(v, lab.model("m", base), "select")

    def test_an_agent_chooses_by_dev_at_most(self, lab, v, digest_of):
        lab.ask(v, lab.base())
        lab.ws.node(kind="session", digest=digest_of("s"), name="agent", actor="researcher")
        with refused("R4", "selected by"):
            lab.ws.use(v, digest_of("s"), "select", actor="researcher")


class TestTestNumbers:
    """A family held for test says one number, and that number is the one that counts."""

    @pytest.fixture
    def t(self, lab):
        signal = lab.signal("t", T, "test")
        lab.admit(signal)
        holdout.open_budget(lab.ws, T, mechanism="single-shot")
        return signal

    def test_under_another_role(self, lab, t):
        model = lab.model("m", lab.base())
        for role in ("train", "dev", "validation"):
            with refused("budget", "wasn't asked about"):
                lab.measure(model, t, role=role)

    def test_as_a_control_after_the_fact(self, lab, t):
        with refused("budget", "wasn't asked about"):
            lab.measure(lab.model("m", lab.base()), t, name="control.null")

    def test_another_number(self, lab, t):
        model = lab.model("m", lab.base())
        plan = lab.ws.ledger.append("plan", {"say": "once"}, actor="evaluator").digest
        answers = Answers(values=(0.0, 1.0), clusters=("a", "b"))
        assert holdout.ask(lab.ws, t, f"m@{model}", answers, plan=plan).value == 0.5
        with refused("budget", "released 0.5"):
            lab.measure(model, t, role="test", value=0.99)
        lab.measure(model, t, role="test", value=0.5)

    @pytest.mark.parametrize(
        ("family", "role", "mechanism", "body"),
        [
            (T, "test", "single-shot", {"reference": None, "released": 0.5, "left": 1}),
            (V, "validation", "thresholdout", {"reference": 0.1, "released": 0.5, "left": 10}),
            (V, "validation", "thresholdout", {"reference": None, "released": 0.5, "left": 10}),
            ("construction/slips/dev", "dev", "ladder", {"reference": None, "released": 0.5, "left": 1000}),
        ],
    )
    def test_answers_that_say_they_cost_nothing(self, lab, family, role, mechanism, body):
        signal = lab.signal("s", family, role)
        lab.admit(signal)
        holdout.open_budget(lab.ws, family, mechanism=mechanism)
        plan = lab.ws.ledger.append("plan", {"say": "once"}, actor="evaluator").digest
        query = {"signal": signal, "subject": f"base@{lab.base()}", "mechanism": mechanism, "plan": plan}
        with pytest.raises(Tampered, match="uncharged, though nobody knew it"):
            lab.ws.ledger.append("query", query | {"values": "0" * 64, "fresh": False} | body, actor="evaluator")

    def test_a_signal_that_was_never_admitted(self, lab, v):
        lab.admit(v)
        holdout.open_budget(lab.ws, V, mechanism="thresholdout")
        other = lab.signal("other", V, "validation")
        with refused("admission", "never admitted"):
            holdout.ask(lab.ws, other, f"base@{lab.base()}", Answers(values=(1.0,), clusters=("c",)), reference=1.0)


class TestAdmission:
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"chance": 1.0}, "0 <= chance <= baseline < optimum"),
            ({"baseline": 0.4}, "0 <= chance <= baseline < optimum"),
            ({"n": 10**9}, "it may be 1 to"),
            ({"n": 901}, "fewer items than stated"),
        ],
    )
    def test_numbers_that_admit_anything(self, lab, v, change, says):
        controls = {n: self.control(lab, v, n) for n in ("null", "constant", "garbage")}
        stated = {"chance": 0.5, "baseline": 0.6, "n": 900} | change
        with pytest.raises(BadEvent, match=says):
            holdout.admit(lab.ws, v, controls=controls, **stated)

    @pytest.mark.parametrize("fields", [{"low": 0.1, "high": 0.05}, {"low": None, "high": None}])
    def test_a_control_without_an_interval(self, lab, v, fields):
        controls = {n: self.control(lab, v, n, **fields) for n in ("null", "constant", "garbage")}
        with pytest.raises(BadEvent, match="or no interval"):
            holdout.admit(lab.ws, v, chance=0.5, baseline=0.6, n=900, controls=controls)

    def test_one_model_for_all_three(self, lab, v):
        controls = dict.fromkeys(("null", "constant", "garbage"), self.control(lab, v, "null"))
        with pytest.raises(BadEvent, match="are of 1 models"):
            holdout.admit(lab.ws, v, chance=0.5, baseline=0.6, n=900, controls=controls)

    def control(self, lab, v, name, **fields):
        numbers = {"value": 0.5, "low": 0.45, "high": 0.55, "n": 900} | fields
        return lab.measure(lab.base(name), v, name=f"control.{name}", **numbers)

    @pytest.mark.parametrize(
        ("mechanism", "settings"),
        [
            ("ladder", {"steps": 1e-12}),
            ("thresholdout", {"threshold": 1e6}),
            ("thresholdout", {"noise": 1e-9}),
            ("thresholdout", {"noise": "x"}),
            ("thresholdout", {"noise": None}),
            ("ladder", {"steps": True}),
        ],
    )
    def test_settings_that_release_everything_or_nothing(self, mechanism, settings):
        with pytest.raises(SuperalignError, match="must be a number from"):
            checked_settings(mechanism, settings)
