"""`triage_agent`: hands a message to who fits. Keeps nothing between runs."""

import re
from collections.abc import Sequence
from typing import Final

from toolkit import AgentAnswer, AgentRun
from toolkit_triage.routing import Score, rank

INSTRUCTIONS: Final = (
    "No specialised agent fits this message. Answer it with the user's own tools where "
    "they help. Say plainly what you cannot do, and invent no figures."
)

MAX_SHOWN: Final = 60
"""Characters of a name or a word that came from outside, when it is shown again."""
MAX_WORDS: Final = 5
MAX_LISTED: Final = 20


class TriageAgent:
    """Hands your message to the agent that fits best, and says why."""

    name = "triage_agent"

    async def run(self, message: str, run: AgentRun) -> AgentAnswer:
        """Route by the words of the message and of the agents' own descriptions.

        An agent that was asked for and does not exist is said to, in the thought and in
        the answer. Where no agent fits, a configured model answers; without one, the
        answer lists what this user can ask here.

        Args:
            message: What the user asks.
            run: This run.
        """
        scores = rank(message, run.agents())
        absent = _absent(run.requested_agent)
        if scores:
            return await _hand_over(message, run, scores, absent)
        await run.think(f"{absent}No agent, because no word of the message fits one.")
        if run.has_model:
            answer = await run.reason(INSTRUCTIONS)
            return AgentAnswer(absent + answer.text, answer.details)
        details = {"routed_to": None, "requested_agent": run.requested_agent}
        return AgentAnswer(absent + _what_can_be_asked(run), details)


async def _hand_over(
    message: str, run: AgentRun, scores: Sequence[Score], absent: str
) -> AgentAnswer:
    best = scores[0]
    reason = explain(scores)
    await run.think(f"{absent}{best.agent}, because {reason}.", routed_to=best.agent)
    answer = await run.ask(best.agent, message)
    details = {
        "routed_to": best.agent,
        "because": list(best.because),
        "scores": {one.agent: one.points for one in scores},
        "requested_agent": run.requested_agent,
        "answer": answer.details,
    }
    heading = f"{absent}{best.agent} answers, because {reason}."
    return AgentAnswer(f"{heading}\n\n{answer.text}", details)


def explain(scores: Sequence[Score]) -> str:
    """Say in half a sentence why the first of these agents was chosen."""
    best = scores[0]
    if best.is_named:
        return "the message names it"
    words = [f"“{plain(word)}”" for word in best.because[:MAX_WORDS]]
    listed = " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
    reason = f"the message speaks of {listed}"
    equals = [one.agent for one in scores[1:] if one.points == best.points]
    if equals:
        reason += f"; {', '.join(equals)} would fit as well, and names decide"
    return reason


def plain(text: str) -> str:
    """Return a text from outside on one line, short, and without Markdown."""
    one_line = " ".join(re.sub(r"[`*_\[\]<>|#]+", " ", text).split())
    if len(one_line) <= MAX_SHOWN:
        return one_line
    return one_line[:MAX_SHOWN] + "…"


def _absent(requested: str | None) -> str:
    if requested is None:
        return ""
    name = re.sub(r"[^\w.-]+", " ", requested).strip()[:MAX_SHOWN]
    return f"There is no agent “{name}” here, so triage_agent took the message. "


def _what_can_be_asked(run: AgentRun) -> str:
    described = sorted(run.agents().items())
    agents = [_item(f"**{name}**", text) for name, text in described]
    tools = [_item(f"`{one.name}`", one.description) for one in run.tools()]
    return (
        "I hand messages to agents, and could not tell from yours which one it is for."
        f"\n\n{_list('Agents you can ask', agents)}"
        f"\n\n{_list('Tools that they can use for you', tools)}"
        "\n\nSay what you want to know in words like these, or name an agent."
    )


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return f"{title}: none. An administrator grants access to them."
    more = len(lines) - MAX_LISTED
    shown = lines[:MAX_LISTED] + ([f"- and {more} more"] if more > 0 else [])
    return "\n".join([f"{title}:", *shown])


def _item(name: str, description: str) -> str:
    first = description.strip().partition("\n")[0]
    return f"- {name}: {first}" if first else f"- {name}"
