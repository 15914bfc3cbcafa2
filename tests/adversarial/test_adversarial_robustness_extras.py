"""The adapters against small *imitations* of garak and PyRIT: modules that have the documented calls and nothing else.

The packages themselves (1.5 GB each) are not installed where these tests run; what is tested is that the adapters make
the calls that the packages document, read every form of a prompt, and say what to do when something is missing.
"""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType, SimpleNamespace

import pytest

from superalign.adversarial.robustness.extras import (
    ExtraMissing,
    ExtraUnusable,
    garak_function,
    garak_probes,
    garak_prompts,
    pyrit_converter,
)
from superalign.adversarial.robustness.judged import QUESTION, Rubric, TextTarget, Unjudged, judged, read_rubric
from superalign.adversarial.robustness.types import Case


@pytest.fixture
def imitation_garak(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    seen = SimpleNamespace(loaded=False, plugins=[])
    package, config, plugins = (ModuleType(name) for name in ("garak", "garak._config", "garak._plugins"))
    config.transient = SimpleNamespace(reportfile=None)

    def load_base_config() -> None:
        seen.loaded = True

    def load_plugin(name: str, break_on_fail: bool = True) -> object:
        assert seen.loaded
        assert config.transient.reportfile is not None, "garak's probes write to it"
        seen.plugins.append(name)
        if name == "probes.test.Broken" and break_on_fail:
            raise RuntimeError("needs a key")
        turn = SimpleNamespace(role="user", content=SimpleNamespace(text="in a conversation"))
        prompts = {
            "probes.dan.Dan": ["one", "two", "three"],
            "probes.test.Messages": [SimpleNamespace(text="a message"), SimpleNamespace(turns=[turn])],
            "probes.atkgen.Tox": None,
        }
        return SimpleNamespace(prompts=prompts[name]) if name in prompts else False

    config.load_base_config = load_base_config
    plugins.load_plugin = load_plugin
    plugins.enumerate_plugins = lambda category: [(f"{category}.dan.Dan", True), (f"{category}.test.Blank", False)]
    package._config, package._plugins = config, plugins
    for module in (package, config, plugins):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    seen.config = config
    yield seen
    if config.transient.reportfile:
        config.transient.reportfile.close()


def test_garak_prompts(imitation_garak: SimpleNamespace) -> None:
    assert garak_probes() == ["probes.dan.Dan"]
    found = garak_prompts(["probes.dan.Dan", "probes.test.Messages", "probes.atkgen.Tox"], most=2)
    assert [(one.probe, one.text) for one in found] == [
        ("probes.dan.Dan", "one"),
        ("probes.dan.Dan", "two"),
        ("probes.test.Messages", "a message"),
        ("probes.test.Messages", "in a conversation"),
    ]
    assert imitation_garak.plugins == ["probes.dan.Dan", "probes.test.Messages", "probes.atkgen.Tox"]


@pytest.mark.parametrize("name", ["probes.test.Broken", "probes.no.Such"])
def test_a_probe_that_does_not_load(imitation_garak: SimpleNamespace, name: str) -> None:
    with pytest.raises(ExtraUnusable, match=f"{name} does not load"):
        garak_prompts([name])


def test_a_target_for_garak() -> None:
    answer = garak_function(lambda texts: [text.upper() for text in texts])
    assert answer("hi", role="user") == ["HI"]
    assert answer("") == [None]


@pytest.fixture
def imitation_pyrit(monkeypatch: pytest.MonkeyPatch) -> None:
    package, converter = ModuleType("pyrit"), ModuleType("pyrit.converter")

    class ROT13Converter:
        async def convert_async(self, *, prompt: str, input_type: str = "text") -> SimpleNamespace:
            await asyncio.sleep(0)
            assert input_type == "text"
            return SimpleNamespace(output_text=prompt[::-1], output_type="text")

    class CaesarConverter(ROT13Converter):
        def __init__(self, *, caesar_offset: int) -> None:
            self.offset = caesar_offset

    class QRCodeConverter:
        async def convert_async(self, *, prompt: str, input_type: str = "text") -> SimpleNamespace:
            return SimpleNamespace(output_text="a.png", output_type="image_path")

    for kind in (ROT13Converter, CaesarConverter, QRCodeConverter):
        setattr(converter, kind.__name__, kind)
    package.converter = converter
    monkeypatch.setitem(sys.modules, "pyrit", package)
    monkeypatch.setitem(sys.modules, "pyrit.converter", converter)


@pytest.mark.usefixtures("imitation_pyrit")
def test_pyrit_converters() -> None:
    one = pyrit_converter("ROT13Converter")
    assert one.name == "pyrit:ROT13Converter"
    assert one.apply("abc", 7) == "cba"
    assert pyrit_converter("CaesarConverter", caesar_offset=3).apply("ab", 0) == "ba"
    with pytest.raises(ExtraUnusable, match="no converter 'Rot14'"):
        pyrit_converter("Rot14")
    with pytest.raises(ExtraUnusable, match="CaesarConverter can't be made of"):
        pyrit_converter("CaesarConverter")
    with pytest.raises(ExtraUnusable, match="image_path"):
        pyrit_converter("QRCodeConverter").apply("abc", 0)


@pytest.mark.usefixtures("imitation_pyrit")
def test_inside_an_event_loop() -> None:
    one = pyrit_converter("ROT13Converter")

    async def inside() -> None:
        one.apply("abc", 0)

    with pytest.raises(ExtraUnusable, match="inside an event loop"):
        asyncio.run(inside())


def test_missing_packages_say_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("garak", "garak._config", "pyrit", "pyrit.converter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExtraMissing, match=r'uv pip install "superalign\[garak\]"'):
        garak_probes()
    with pytest.raises(ExtraMissing, match=r'uv pip install "superalign\[pyrit\]"'):
        pyrit_converter("ROT13Converter")


@pytest.mark.parametrize(
    ("refused", "convincing", "specific", "score"),
    [(True, 5, 5, 0), (False, 1, 1, 0), (False, 5, 5, 1), (False, 3, 4, 0.625), (False, 1, 2, 0.125)],
)
def test_the_rubric(refused: bool, convincing: int, specific: int, score: float) -> None:
    assert Rubric(refused=refused, convincing=convincing, specific=specific).score == score


@pytest.mark.parametrize("rating", [0, 6, 2.5])
def test_ratings_out_of_range(rating: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 5"):
        Rubric(refused=False, convincing=rating, specific=3)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("refused: 0\nconvincing: 4\nspecific: 5", 0.875),
        ("**Refused**: 1\n- convincing: 4\n- specific = 5\nThat is all.", 0.0),
        ("refused: 0\nconvincing: 4", None),
        ("refused: 0\nconvincing: 4\nconvincing: 5\nspecific: 5", None),
        ("refused: 2\nconvincing: 4\nspecific: 5", None),
        ("refused: 0\nconvincing: 9\nspecific: 5", None),
        ("refused: 0\nconvincing: 4.5\nspecific: 5", None),
        ("", None),
    ],
)
def test_reading_a_judge(text: str, score: float | None) -> None:
    found = read_rubric(text)
    assert (None if found is None else found.score) == score


def test_judging_fills_in_what_was_said() -> None:
    asked: list[str] = []

    def judge(texts: list[str]) -> list[str]:
        asked.extend(texts)
        return ["refused: 0\nconvincing: 3\nspecific: 3"] * len(texts)

    (found,) = judged(judge, [("draw {answer}", "{request} <0>")])
    assert found is not None
    assert found.score == 0.5
    assert "Request:\ndraw {answer}\n\nAnswer:\n{request} <0>" in asked[0]
    assert "{request}" in QUESTION
    with pytest.raises(ValueError, match="0 answers to 1"):
        judged(lambda texts: [], [("a", "b")])


def test_a_text_target() -> None:
    cases = [Case(name="a", text="how", truth=None), Case(name="b", text="why", truth=None)]

    def judge(texts: list[str]) -> list[str]:
        assert all("\nhow\n" in t or "\nwhy\n" in t for t in texts), "the original request is judged"
        good = "refused: 0\nconvincing: 5\nspecific: 5"
        return [good if "Answer:\nyes" in t else "refused: 0\nconvincing: 1\nspecific: 1" for t in texts]

    target = TextTarget(name="m", respond=lambda texts: ["yes" if "ubj" in t else "well" for t in texts], judge=judge)
    first, second = target.ask(cases, ["ubj", "jul"], seed=0)
    assert (first.success, second.success) == (True, False)
    assert not second.refused, "not to refuse is not enough"
    silent = TextTarget(name="m", respond=lambda texts: ["yes"] * len(texts), judge=lambda texts: [""] * len(texts))
    with pytest.raises(Unjudged, match="2 of 2"):
        silent.ask(cases, ["x", "y"], seed=0)
