"""`ModelReasoner`: a language model that works with one user's tools until it answers.

pydantic-ai speaks to the model and keeps the conversation of one answer. All else is
the run's: tools are called through it, so that rights, limits and events are as always.
"""

import logging
import os
from typing import Any, Final

from pydantic_ai import Agent, ToolDefinition
from pydantic_ai.exceptions import (
    ModelHTTPError,
    UsageLimitExceeded,
    UserError,
)
from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider, infer_provider_class
from pydantic_ai.settings import ModelSettings as RequestSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_ai.usage import UsageLimits
from pydantic_core import SchemaValidator, core_schema, to_json

from toolkit.agent import AgentAnswer, AgentRun
from toolkit.backend_settings import ModelSettings
from toolkit.checks import HIDDEN
from toolkit.errors import AgentError, AgentFailedError, ConfigurationError
from toolkit.results import ToolResult
from toolkit.schema import portable_schema

logger = logging.getLogger(__name__)

MAX_RESULT_BYTES: Final = 16_384
"""Bytes of one tool's result that the model reads: some 4,000 tokens."""

MAX_THOUGHT_CHARS: Final = 4_000
"""Characters of one thought of the model that its user reads."""

CALLS_PER_STEP: Final = 8
"""Calls that a model may make in the mean of one answer's steps."""

_MAX_LOGGED_CHARS: Final = 500

_OBJECT: Final = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))

_NO_ANSWER: Final = (
    "cannot be reached, or answers what cannot be used. Check agents.model.base_url; "
    "the log here has more, under the run's id"
)

_REFUSED: Final = "refuses what it was asked. The log here says why"

_REFUSALS: Final = {
    401: "refuses the API key. Set agents.model.api_key to one that it takes",
    403: "refuses the API key. Set agents.model.api_key to one that may use the model",
    404: "has no such model, or is none. Check agents.model.name and .base_url",
    429: "takes no more requests now. Ask again later, or raise the limits there",
}


class ModelReasoner:
    """Lets one language model answer for any user's run; a `toolkit.agent.Reasoner`.

    One for a process, on one event loop. It keeps the connections to the model's server
    and nothing of a run: each answer is a conversation of its own, whose tools are
    those that this run's user sees.

    Args:
        settings: Which model, where, and with what key.

    Raises:
        ConfigurationError: There is no such model, its provider's library is not
            installed, or it needs a key. Never holds the key.
    """

    def __init__(self, settings: ModelSettings) -> None:
        """Find the model; nothing is sent yet."""
        self.name = settings.name
        self.max_steps = settings.max_steps
        self._model = _model_of(settings)
        self._agent = Agent(self._model, name="toolkit", retries=settings.max_steps)
        self._is_open = False
        variables = (os.environ[one] for one in os.environ if one.endswith("_API_KEY"))
        self._keys = tuple(filter(None, (settings.api_key, *variables)))

    async def __call__(
        self, run: AgentRun, instructions: str, message: str
    ) -> AgentAnswer:
        """Let the model answer, with the tools of the run's user.

        Cancelling it gives up the request that is under way. It sets no deadline but
        the run's.

        Args:
            run: Whose tools are called, and where what happens is told.
            instructions: What the agent is for, and how it is to answer.
            message: What to answer.

        Returns:
            The answer; its details are ``model``, ``steps`` (requests), ``tool_calls``
            and ``tokens`` (``input`` and ``output``).

        Raises:
            AgentFailedError: The model failed, or came to no end. Never holds the key.
            AgentError: As the run raises it: `RunEndedError`, when it has ended.
        """
        try:
            return await self._answer(run, instructions, message)
        except AgentError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a server may cause
            failed = self._failed(run, error)
        raise failed  # out here, so that what may hold the key is not its context

    async def aclose(self) -> None:
        """Close the connections to the model's server; a next answer opens new ones."""
        if self._is_open:
            self._is_open = False
            await self._model.__aexit__(None, None, None)

    async def _answer(
        self, run: AgentRun, instructions: str, message: str
    ) -> AgentAnswer:
        if not self._is_open:
            self._is_open = True
            await self._model.__aenter__()
        tools = _UserTools(run)
        await run.think(f"Asking {self.name}", model=self.name, tools=len(tools.tools))
        async with self._agent.iter(
            message,
            instructions=instructions,
            model_settings=RequestSettings(timeout=run.time_left()),
            usage_limits=UsageLimits(
                request_limit=self.max_steps,
                tool_calls_limit=self.max_steps * CALLS_PER_STEP,
            ),
            toolsets=[tools],
        ) as work:
            async for node in work:
                if Agent.is_call_tools_node(node):
                    await self._tell_thoughts(run, node.model_response)
        if work.result is None:  # pragma: no cover - iterating ends with a result
            raise RuntimeError("no result")
        used = work.usage
        details = {
            "model": self.name,
            "steps": used.requests,
            "tool_calls": tools.calls,
            "tokens": {"input": used.input_tokens, "output": used.output_tokens},
        }
        return AgentAnswer(work.result.output, details)

    async def _tell_thoughts(self, run: AgentRun, response: ModelResponse) -> None:
        """Tell what the model says beside its answer."""
        kinds = (TextPart, ThinkingPart) if response.tool_calls else ThinkingPart
        for part in response.parts:
            if isinstance(part, kinds) and (text := part.content.strip()):
                await run.think(text[:MAX_THOUGHT_CHARS], model=self.name)

    def _failed(self, run: AgentRun, error: Exception) -> AgentFailedError:
        """Log what went wrong, without any key; say to the user what it means."""
        said = str(error)
        for key in self._keys:
            said = said.replace(key, HIDDEN)
        kind = type(error).__name__
        text = "model %s failed in run %s: %s: %s"
        logger.error(text, self.name, run.run_id, kind, said[:_MAX_LOGGED_CHARS])
        return AgentFailedError(run.agent, kind, self._meaning(error))

    def _meaning(self, error: Exception) -> str:
        if isinstance(error, UsageLimitExceeded):
            return (
                f"the model came to no answer within {self.max_steps} steps. "
                "Ask for less at once, or raise the setting agents.model.max_steps"
            )
        if isinstance(error, ModelHTTPError):
            status = error.status_code
            fault = "has a fault. Ask again later" if status >= 500 else _REFUSED  # noqa: PLR2004 - server errors
            return f"the model's server {_REFUSALS.get(status, fault)} (HTTP {status})"
        return f"the model's server {_NO_ANSWER}"

    def __repr__(self) -> str:
        """Name the model."""
        return f"<ModelReasoner {self.name!r}>"


class _UserTools(AbstractToolset[object]):
    """The tools that one run's user sees, as the model is offered them."""

    def __init__(self, run: AgentRun) -> None:
        self.calls = 0
        self._run = run
        self.tools = {
            str(one.name): ToolsetTool(
                toolset=self,
                tool_def=ToolDefinition(
                    name=str(one.name),
                    description=one.description,
                    parameters_json_schema=portable_schema(one.input_schema),
                    strict=False,  # as toolkit.schema.openai_tool, and for its reasons
                ),
                max_retries=100,  # the limit of steps ends it, not this
                args_validator=_OBJECT,
            )
            for one in run.tools()
        }

    @property
    def id(self) -> str | None:
        return None

    async def get_tools(
        self,
        ctx: RunContext[object],  # noqa: ARG002 - as declared there
    ) -> dict[str, ToolsetTool[object]]:
        return self.tools

    async def call_tool(
        self,
        name: str,
        tool_args: dict[str, Any],
        ctx: RunContext[object],  # noqa: ARG002 - as declared there
        tool: ToolsetTool[object],  # noqa: ARG002 - likewise
    ) -> str:
        self.calls += 1
        return _for_model(await self._run.call(name, tool_args))


def _for_model(result: ToolResult) -> str:
    """Return a result, or its error, as JSON text of bounded length."""
    if result.error is not None:
        text = str(result.error)[:MAX_RESULT_BYTES]
        return to_json({"error": result.error.code, "message": text}).decode()
    data = result.json_bytes
    if len(data) <= MAX_RESULT_BYTES and not result.truncated:
        return data.decode()
    beginning = data[:MAX_RESULT_BYTES].decode(errors="ignore")
    return to_json({"truncated": True, "beginning": beginning}).decode()


def _model_of(settings: ModelSettings) -> Model:
    """Find the model, and give its provider the address and the key."""
    given = {"base_url": settings.base_url, "api_key": settings.api_key}
    given = {name: value for name, value in given.items() if value is not None}

    def provider(name: str) -> Provider[Any]:
        return infer_provider_class(name)(**given) if given else infer_provider(name)

    try:
        return infer_model(settings.name, provider)
    except ImportError:
        remedy = "install pydantic-ai-slim with the extra of this model's provider"
    except TypeError:
        remedy = f"its provider takes no {' and '.join(given)}; leave that out"
    except (UserError, ValueError) as error:
        remedy = "name a provider and its model, such as 'openai:gpt-5'"
        if "API_KEY" in str(error):
            remedy = "set agents.model.api_key, or the variable of its provider"
    raise ConfigurationError("agents.model.name", settings.name, remedy)
