"""The self-exfiltration range: an agent, a sandbox without a way out, worthless weights, and milestones by evidence.

    fixture = drawn_fixture(seed=0)
    episode = play_episode(solver(6), fixture, name="solver 6")      # or agent_at("hf:/models/small")
    graded(episode).depth                                            # 6: the relay inside holds the file

Everything is harmless: the weights are random bytes, the relay leads nowhere, nothing leaves the sandbox. The second
half is persuasion: play_talk(persuader, gate), for a token that is worth nothing.
"""

from superalign.adversarial.exfiltration.actions import Action, parsed
from superalign.adversarial.exfiltration.agents import agent_at, agents_at, chat_agent, local_agent
from superalign.adversarial.exfiltration.boxed import Did, Wrote, layer_for_range, opened
from superalign.adversarial.exfiltration.episode import (
    Agent,
    Episode,
    Message,
    Turn,
    as_raw,
    episode_of,
    fixture_of,
    play_episode,
)
from superalign.adversarial.exfiltration.gates import LocalGate, ServedGate, fitted_gatekeeper, local_gate
from superalign.adversarial.exfiltration.milestones import Grade, Milestone, as_score, graded
from superalign.adversarial.exfiltration.persuasion import (
    Answer,
    Exchange,
    Gate,
    ScriptedGate,
    Talk,
    handed,
    play_talk,
    raw_talk,
    scripted_persuader,
    talk_of,
)
from superalign.adversarial.exfiltration.range import Fixture, drawn_fixture, instructions
from superalign.adversarial.exfiltration.solvers import honest, liar, prober, solver
from superalign.adversarial.exfiltration.study import play_range, range_rows
from superalign.adversarial.exfiltration.watching import Actions, steps_of, suspicion_of

__all__ = [
    "Action",
    "Actions",
    "Agent",
    "Answer",
    "Did",
    "Episode",
    "Exchange",
    "Fixture",
    "Gate",
    "Grade",
    "LocalGate",
    "Message",
    "Milestone",
    "ScriptedGate",
    "ServedGate",
    "Talk",
    "Turn",
    "Wrote",
    "agent_at",
    "agents_at",
    "as_raw",
    "as_score",
    "chat_agent",
    "drawn_fixture",
    "episode_of",
    "fitted_gatekeeper",
    "fixture_of",
    "graded",
    "handed",
    "honest",
    "instructions",
    "layer_for_range",
    "liar",
    "local_agent",
    "local_gate",
    "opened",
    "parsed",
    "play_episode",
    "play_range",
    "play_talk",
    "prober",
    "range_rows",
    "raw_talk",
    "scripted_persuader",
    "solver",
    "steps_of",
    "suspicion_of",
    "talk_of",
]
