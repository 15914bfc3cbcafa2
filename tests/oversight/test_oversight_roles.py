"""Roles fitted from one base: what they read, what a label tells them, that both spend the same, exact samples."""

from dataclasses import replace

import numpy as np
import pytest

from superalign.oversight.roles import (
    HEAD,
    PREFIX,
    Answers,
    Labelled,
    RoleRecipe,
    Seen,
    answers,
    by_experience,
    cut_of,
    fit_role,
    holds,
    labelled,
    read,
    role_loss,
    sample,
    untrained,
)
from superalign.tasks import mutants, pixels, slips, traces
from superalign.tasks.traces import apply_step, random_program

RECIPE = RoleRecipe(steps=120, batch=16, rate=1e-2, hidden=8, looks=4)


@pytest.fixture(scope="module")
def xs():
    from superalign.models import load_model

    return load_model("family:xs")


@pytest.fixture(scope="module")
def m():
    from superalign.models import load_model

    return load_model("family:m")


def made_up(n, seed, *, strength, places=6, width=9):
    """Features of texts in which the flawed place stands out by `strength` in one direction; half are flawed."""
    rng = np.random.default_rng(seed)
    place = np.where(np.arange(n) % 2, rng.integers(places, size=n), -1)
    features = rng.normal(size=(n, places, width)).astype(np.float32)
    bad = np.flatnonzero(place >= 0)
    features[bad, place[bad], 0] += strength
    data = Labelled(
        texts=("",) * n, words=(tuple(range(places)),) * n, place=place, clusters=np.arange(n).astype(str), near=0
    )
    return Seen(features=features, there=np.ones((n, places), dtype=bool), data=data, flops=1000.0)


# -- texts and places


def test_the_places_of_calculations_are_results_and_those_of_pairs_go_together():
    page = traces(split="dev", view="pair", n=20, steps=5)
    data = labelled(page)
    assert len(data.texts) == 40
    assert data.flawed.tolist() == [0.0] * 20 + [1.0] * 20
    for i, item in enumerate(page.items):
        truth = page.truths[item.id]
        assert data.texts[i] == item.input["ab"[truth["answer"]]]
        assert data.texts[20 + i] == item.input["ba"[truth["answer"]]]
        assert data.place[20 + i] == truth["place"]
        assert data.clusters[i] == data.clusters[20 + i] == item.cluster
        sound, flawed = (data.texts[k].split() for k in (i, 20 + i))
        first = next(k for k, words in enumerate(zip(sound, flawed, strict=True)) if words[0] != words[1])
        assert data.words[20 + i][data.place[20 + i]] == first


def test_a_single_says_where_only_when_it_is_flawed():
    page = slips(split="dev", view="single", n=40)
    data = labelled(page)
    for item, place, words in zip(page.items, data.place, data.words, strict=True):
        truth = page.truths[item.id]
        assert place == (truth["place"] if truth["answer"] else -1)
        assert words == tuple(range(48))
    assert data.near == 1


def test_both_sides_of_a_mutant_first_differ_at_the_place():
    page = mutants(split="dev", view="pair", form="words", n=30)
    data = labelled(page)
    for i in range(30):
        sound, flawed = (data.texts[k].split() for k in (i, 30 + i))
        at = int(data.place[30 + i])
        assert sound[:at] == flawed[:at]
        assert sound[at] != flawed[at]


def test_other_tasks_have_no_places():
    with pytest.raises(ValueError, match="roles read traces, slips, mutants"):
        labelled(pixels(split="dev", n=3))


# -- what is read of a base


def test_a_place_is_read_with_what_stands_before_it(xs):
    data = labelled(traces(split="dev", view="single", n=6, steps=3))
    seen = read(xs, data)
    texts = [PREFIX + text for text in data.texts]
    states, logp = xs.hidden(texts), xs.logprobs(texts)
    embedding = xs.network.get_input_embeddings().weight.detach().numpy()
    for i, ids in enumerate(xs.encode(texts)):
        for k, word in enumerate(data.words[i]):
            at, w = word + HEAD, xs.width
            assert xs.tokenizer.convert_ids_to_tokens(ids[at]) == data.texts[i].split()[word]
            before, here, match, last = np.split(seen.features[i, k], [w, 2 * w, 3 * w])
            np.testing.assert_allclose(before, states[i][at - 1], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(here, states[i][at], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(match, states[i][at - 1] * embedding[ids[at]] * w**0.5, rtol=1e-4, atol=1e-5)
            assert last[0] == pytest.approx(logp[i][at - 1], abs=1e-4)
    assert seen.flops == 2.0 * sum(p.numel() for p in xs.network.parameters()) * len(xs.encode(texts)[0])


def test_texts_beyond_the_context_are_refused(xs):
    with pytest.raises(ValueError, match="1 texts are longer than family-xs reads"):
        read(xs, labelled(traces(split="dev", view="single", n=1, steps=40)))


def test_shorter_texts_are_padded_and_never_pointed_at_there(xs):
    data = labelled(traces(split="dev", view="single", n=2, steps=3))
    more = labelled(traces(split="dev", view="single", n=2, steps=6))
    both = Labelled(
        texts=data.texts + more.texts,
        words=data.words + more.words,
        place=np.r_[data.place, more.place],
        clusters=np.r_[data.clusters, more.clusters],
    )
    seen = read(xs, both)
    assert seen.there.sum(1).tolist() == [3, 3, 6, 6]
    assert (untrained(seen).pointed[:2] < 3).all()
    net = fit_role(made_up(40, 0, strength=2.0, width=3 * xs.width + 1), seen, role="critic", labels=40, seed=0).last
    alone = answers(net, read(xs, data))
    together = answers(net, seen)
    assert together.pointed[:2].tolist() == alone.pointed.tolist()
    np.testing.assert_allclose(together.doubt[:2], alone.doubt, rtol=1e-4)


def test_the_largest_base_points_at_wrong_steps_without_a_label(m):
    seen = read(m, labelled(traces(split="dev", view="single", n=60, steps=6)))
    said = untrained(seen)
    assert holds(said.pointed, seen.data)[seen.data.flawed == 1].all()
    assert (said.doubt[seen.data.flawed == 1] > said.doubt[seen.data.flawed == 0].max()).all()


# -- fitting


def test_the_losses_by_hand():
    import torch

    scores = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.5, -0.5]])
    place = torch.tensor([2, -1])
    total = 1 + np.exp(scores.numpy()).sum(1)
    critic = -(np.log(np.exp(2.0) / total[0]) + np.log(1 / total[1])) / 2
    told = -(np.log((total[0] - 1) / total[0]) + np.log(1 / total[1])) / 2
    assert float(role_loss(scores, place, "critic")) == pytest.approx(critic, rel=1e-5)
    assert float(role_loss(scores, place, "discriminator")) == pytest.approx(told, rel=1e-5)
    assert told < critic  # which place it is costs nats that only the critic pays


def test_a_role_is_the_same_every_time_and_another_with_another_seed():
    train, dev = made_up(120, 1, strength=2.0), made_up(60, 2, strength=2.0)
    first, again, other = (
        fit_role(train, dev, role="critic", labels=60, seed=seed, recipe=RECIPE).last for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(answers(first, dev).doubt, answers(again, dev).doubt)
    assert not np.array_equal(answers(first, dev).doubt, answers(other, dev).doubt)


@pytest.mark.parametrize(("role", "learned"), [("discriminator", 0.4), ("critic", 0.75)])
def test_either_role_learns_what_there_is_and_nothing_where_there_is_nothing(role, learned):
    """A sixth of the claims would be valid by chance."""
    for strength, least, most in ((4.0, learned, 1.0), (0.0, 0.0, 0.35)):
        train, dev, test = (made_up(400, seed, strength=strength) for seed in (3, 4, 5))
        net = fit_role(train, dev, role=role, labels=400, seed=0, recipe=RECIPE).last
        said, bad = answers(net, test), test.data.flawed == 1
        assert least <= holds(said.pointed, test.data)[bad].mean() <= most
        right = ((said.doubt > net.cut) == bad).mean()
        assert right > 0.62 if strength else 0.4 < right < 0.6


def test_labels_that_say_where_teach_more_of_where():
    """Weak signal, many places: the critic's label tells which of twelve, the other that there is one."""
    validity = {}
    for role in ("discriminator", "critic"):
        found = []
        for seed in range(3):
            train, dev, test = (
                made_up(n, seed + k, strength=2.0, places=12) for k, n in ((10, 150), (20, 100), (30, 400))
            )
            blank = replace(RECIPE, start=0.0)
            net = fit_role(train, dev, role=role, labels=150, seed=seed, recipe=blank).chosen
            found.append(holds(answers(net, test).pointed, test.data)[test.data.flawed == 1].mean())
        validity[role] = float(np.mean(found))
    assert validity["critic"] > validity["discriminator"] + 0.03


def test_both_roles_spend_the_same_and_a_chosen_look_no_more():
    train, dev = made_up(100, 6, strength=1.0), made_up(60, 7, strength=1.0)
    d, c = (fit_role(train, dev, role=role, labels=80, seed=0, recipe=RECIPE) for role in ("discriminator", "critic"))
    parameters = 9 * 8 + 8 + 8 + 2
    assert d.last.flops == c.last.flops == 80 * 1000 + 6 * parameters * 16 * 6 * 120
    assert d.last.step == c.last.step == 120
    for role in (d, c):
        assert role.chosen.flops <= role.last.flops
        assert role.chosen.dev >= role.last.dev
        assert role.chosen.step in (30, 60, 90, 120)


def test_a_net_that_learns_nothing_starts_at_the_base_s_surprisal():
    seen = made_up(80, 8, strength=0.0)
    still = RoleRecipe(steps=1, rate=0.0, looks=1)
    said = answers(fit_role(seen, seen, role="critic", labels=80, seed=0, recipe=still).last, seen)
    assert said.pointed.tolist() == untrained(seen).pointed.tolist()
    hand = np.log(np.exp(-4 - 0.5 * seen.features[..., -1]).sum(1))
    np.testing.assert_allclose(said.doubt, hand, rtol=1e-4)


@pytest.mark.parametrize("labels", [1, 101])
def test_as_many_labels_as_there_are(labels):
    seen = made_up(100, 9, strength=1.0)
    with pytest.raises(ValueError, match="draw 2 or more, and no more"):
        fit_role(seen, seen, role="critic", labels=labels, seed=0)


def test_labels_of_one_kind_teach_nothing():
    seen = made_up(40, 10, strength=1.0)
    sound = replace(seen, data=replace(seen.data, place=np.full(40, -1)))
    with pytest.raises(ValueError, match="all flawed or all sound"):
        fit_role(sound, seen, role="critic", labels=20, seed=0)


# -- answers and judges


def test_a_claim_holds_near_enough_and_never_of_a_sound_text():
    data = replace(made_up(4, 0, strength=0.0).data, place=np.array([-1, 2, 2, 2]), near=1)
    assert holds(np.array([0, 2, 3, 4]), data).tolist() == [0.0, 1.0, 1.0, 0.0]
    assert holds(np.array([0, 0, 0, 0]), replace(data, place=np.full(4, -1))).sum() == 0
    assert holds(np.array([0, 2, 3, 4]), replace(data, near=0)).tolist() == [0.0, 1.0, 0.0, 0.0]


def test_the_cut_is_dev_s_and_stands_where_all_doubts_are_alike():
    dev = made_up(6, 0, strength=0.0)
    assert cut_of(Answers(doubt=np.array([0.0, 3.0, 1.0, 4.0, 0.5, 5.0]), pointed=np.zeros(6)), dev) == 2.0
    assert cut_of(Answers(doubt=np.full(6, 1.5), pointed=np.zeros(6)), dev) == 1.5


def test_a_judge_who_cannot_check_goes_by_what_came_of_it():
    cells, flawed = np.array([0, 0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 1, 0, 1])
    assert by_experience(cells, flawed, np.array([0, 1, 2, 3])).tolist() == [0.0, 1.0, 0.5, 0.5]


def test_testimony_that_says_nothing_new_adds_nothing():
    """The judge hears the critic's verdict and no more: it is as right as the critic, or as its opposite."""
    rng = np.random.default_rng(0)
    flawed = rng.integers(0, 2, 4000)
    says = np.where(rng.random(4000) < 0.7, flawed, 1 - flawed)
    flags = by_experience(says[:2000], flawed[:2000], says[2000:])
    assert (flags == says[2000:]).all()
    liar = by_experience(1 - says[:2000], flawed[:2000], 1 - says[2000:])
    assert (liar == says[2000:]).all()


# -- the generator


def test_only_its_own_steps_can_be_wrong_and_wrong_is_exact(xs):
    programs = [random_program(np.random.default_rng(i), 4) for i in range(8)]
    made = sample(xs, programs, k=3, filled=2, temperature=1.5, seed=1)
    assert made.wrong.shape == (24, 4)
    assert made.wrong.sum(1).max() <= 2
    assert made.wrong.any()  # xs knows no arithmetic
    for text, wrong, number in zip(made.texts, made.wrong, made.program, strict=True):
        value, program = programs[number]
        words = text.split()
        assert words[0] == str(value)
        for k, (operation, operand) in enumerate(program):
            said = int(words[2 + 5 * k + 3])
            assert words[2 + 5 * k : 2 + 5 * k + 2] == [operation, str(operand)]
            assert wrong[k] == (said != apply_step(value, operation, operand))
            value = said
    for number in range(8):
        places = made.wrong[made.program == number].any(0)
        assert places.sum() <= 2  # the same steps for all samples of a program


def test_samples_repeat_by_seed_and_are_labelled_by_their_first_wrong_step(xs):
    programs = [random_program(np.random.default_rng(i), 3) for i in range(6)]
    one, two, other = (sample(xs, programs, k=2, filled=3, temperature=1.0, seed=seed) for seed in (0, 0, 1))
    assert one.texts == two.texts
    assert one.texts != other.texts
    data = one.as_data()
    for place, wrong in zip(data.place, one.wrong, strict=True):
        assert place == (np.flatnonzero(wrong)[0] if wrong.any() else -1)
    assert one.correct.tolist() == (data.place < 0).astype(float).tolist()


def test_the_largest_member_calculates_when_it_is_sure(m):
    programs = [random_program(np.random.default_rng(i), 6) for i in range(20)]
    sure = sample(m, programs, k=1, filled=6, temperature=0.05)
    hot = sample(m, programs, k=1, filled=6, temperature=20.0)
    assert sure.correct.mean() >= 0.95
    assert hot.correct.mean() <= 0.2


@pytest.mark.parametrize("filled", [0, 4])
def test_no_more_steps_are_filled_in_than_there_are(xs, filled):
    with pytest.raises(ValueError, match="fill in 1 to 3 steps"):
        sample(xs, [random_program(np.random.default_rng(0), 3)], k=1, filled=filled, temperature=1.0)
