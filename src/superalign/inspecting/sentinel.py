"""superalign's monitors as monitors of Inspect Sentinel: they observe answers and tool calls, and never act.

    from inspect_sentinel import threshold
    from superalign.inspecting.sentinel import watched
    Task(..., sentinel=threshold(watched(kind="actions"), …))

Sentinel fails closed, and so does this: a step without a score raises `Unscored`, which Sentinel records as a monitor
that failed, so that whoever reads the results is told, and no missing score passes for 0. Needs `inspect-sentinel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspect_sentinel import AfterGenerate, BeforeToolCall, Context, MonitorGroup, Observation, monitor

from superalign.evidence import SuperalignError
from superalign.inspecting.monitors import monitor_of

if TYPE_CHECKING:
    from superalign.adversarial.monitors import Monitor


class Unscored(SuperalignError):
    """A monitor had no score for a step: neither safe nor suspicious."""


@monitor(portable=False)
def watched(kind: str = "static", address: str = "", denied: str = "") -> MonitorGroup:
    """A monitor over each answer of the model, and over each tool call before it is carried out."""
    watching = monitor_of(kind, address=address, denied=[name.strip() for name in denied.split(",") if name.strip()])

    async def answers(context: Context, step: AfterGenerate) -> Observation:
        return await _observed(watching, _last(step.input), step.output.completion)

    async def calls(context: Context, step: BeforeToolCall) -> Observation:
        said = f"{step.message}\n{step.call.function}({step.call.arguments})"
        return await _observed(watching, _last(step.input or []), said)

    return MonitorGroup(answers, calls)


async def _observed(watching: Monitor, before: str, said: str) -> Observation:
    import anyio.to_thread

    from superalign.adversarial.monitors import Step

    (found,) = await anyio.to_thread.run_sync(watching.score, [Step(prompt=before, completion=said)])
    if found.score is None:
        raise Unscored(f"{watching.name} has no score for this step: {found.evidence or 'it failed'}")
    return Observation(
        suspicion=found.score,
        explanation=found.evidence or None,
        metadata={"monitor": watching.digest, "words": [list(span) for span in found.spans]},
    )


def _last(messages: list) -> str:  # type: ignore[type-arg]
    return messages[-1].text if messages else ""
