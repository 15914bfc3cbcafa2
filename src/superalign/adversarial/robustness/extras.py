"""Thin adapters for two big tool boxes, neither of which is needed: garak's probes and PyRIT's converters.

    for one in garak_prompts(["probes.dan.Dan_11_0"]): ...         # static prompts, without a network
    moves = {"rot": pyrit_converter("ROT13Converter")}             # a Transformation, for static_suite and the search

They are imported when asked for; without them an error says how to install them. Both bring 1.5 GB, and pip takes more
than 20 minutes to resolve garak: use uv. Attack search, scoring and statistics stay our own: garak's MitigationBypass,
for one, is a list of substrings which counts "I'm sorry, I can't help with that." as a success.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from superalign.adversarial.robustness.transformations import Transformation
from superalign.evidence import SuperalignError


class ExtraMissing(SuperalignError):
    """A package that an adapter stands on isn't installed."""


class ExtraUnusable(SuperalignError):
    """The package is there, and what was asked of it isn't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPrompt:
    """One prompt of a probe."""

    probe: str
    text: str


def _imported(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        hint = f'uv pip install "superalign[{extra}]"'
        raise ExtraMissing(
            f"{package} is not installed ({error}): {hint} (1.5 GB; pip is slow to resolve it)"
        ) from error


def garak_probes() -> list[str]:
    """Names of all probes that are switched on, without loading one. Raises ExtraMissing without garak."""
    plugins = _garak()
    return [name for name, active in plugins.enumerate_plugins("probes") if active]


def garak_prompts(probes: Sequence[str], *, most: int | None = None) -> list[StaticPrompt]:
    """Static prompts of the named probes (`probes.module.Class`), `most` of each.

    A probe that makes its prompts as it goes has none and adds nothing. Loading all of them takes minutes, and some
    download: name those that you need. Raises ExtraMissing without garak, ExtraUnusable for a probe that doesn't load.
    """
    plugins = _garak()
    out = []
    for name in probes:
        probe = plugins.load_plugin(name, break_on_fail=False)
        if not probe:
            raise ExtraUnusable(f"garak's {name} does not load: its log says why; leave it out")
        texts = [_text_of(each) for each in getattr(probe, "prompts", None) or []]
        out += [StaticPrompt(probe=name, text=text) for text in texts[:most] if text]
    return out


def _garak() -> Any:
    """garak's plugins, with its configuration loaded and a report file that goes nowhere."""
    config, plugins = _imported("garak._config", "garak"), _imported("garak._plugins", "garak")
    config.load_base_config()
    if getattr(config.transient, "reportfile", None) is None:
        config.transient.reportfile = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - garak keeps it open
    return plugins


def _text_of(prompt: Any) -> str:
    """A prompt is a string, a message with a text, or a conversation whose last turn holds one."""
    if isinstance(prompt, str):
        return prompt
    turns = getattr(prompt, "turns", None)
    if turns:
        return _text_of(turns[-1].content)
    return str(getattr(prompt, "text", None) or "")


def garak_function(respond: Callable[[Sequence[str]], Sequence[str]]) -> Callable[..., list[str | None]]:
    """A target in the form that `garak --target_type function --target_name module#name` calls.

    Bind it to a name of a module of your own. An empty answer goes to garak as None: nothing was said.
    """

    def answer(prompt: str, **kwargs: Any) -> list[str | None]:
        return [text or None for text in respond([prompt])]

    return answer


def pyrit_converter(name: str, **arguments: Any) -> Transformation:
    """One of PyRIT's converters, by its class name, as a transformation of text; the seed is not used.

    Raises ExtraMissing without PyRIT, ExtraUnusable for a name it doesn't have, arguments it doesn't take, or a
    converter of something else than text.
    """
    module = _imported("pyrit.converter", "pyrit")
    kind = getattr(module, name, None)
    if kind is None:
        raise ExtraUnusable(f"PyRIT has no converter {name!r}: see pyrit.converter for those it has")
    try:
        converter = kind(**arguments)
    except (TypeError, ValueError, ImportError) as error:
        raise ExtraUnusable(f"PyRIT's {name} can't be made of {sorted(arguments)} ({error})") from error

    def apply(text: str, seed: int) -> str:
        result = _waited(lambda: converter.convert_async(prompt=text, input_type="text"))
        if getattr(result, "output_type", "text") != "text":
            raise ExtraUnusable(f"PyRIT's {name} makes {result.output_type} of a text: use one that makes text")
        return str(result.output_text)

    return Transformation(name=f"pyrit:{name}", family="encoding", apply=apply)


def _waited(start: Callable[[], Any]) -> Any:
    """The result of a coroutine, from code that isn't one. Raises ExtraUnusable inside a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(start())
    raise ExtraUnusable("a converter was called inside an event loop: call it from another thread")
