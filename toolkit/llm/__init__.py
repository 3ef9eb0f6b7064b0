"""Letting a language model answer for agents; the only code that speaks to one.

pydantic-ai, of the extra ``llm``, is imported when a reasoner is made, not before.
"""

from typing import TYPE_CHECKING

from toolkit.backend_settings import ModelSettings
from toolkit.errors import MissingExtraError
from toolkit.settings import Settings

if TYPE_CHECKING:  # the extra may be missing
    from toolkit.llm.reasoning import ModelReasoner

__all__ = ["make_reasoner", "reasoner_from"]


def make_reasoner(settings: ModelSettings) -> "ModelReasoner":
    """Make what lets a language model answer. Asks the model nothing.

    Args:
        settings: Which model, where, and with what key.

    Returns:
        A `toolkit.agent.Reasoner` for all users of one event loop; close it with
        ``await reasoner.aclose()``.

    Raises:
        MissingExtraError: pydantic-ai is not installed.
        ConfigurationError: There is no such model, its provider's library is not
            installed, or it needs a key. Never holds the key.
    """
    try:
        from toolkit.llm.reasoning import (  # noqa: PLC0415 - the extra may be missing
            ModelReasoner,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("the table [agents.model]", "llm") from error
    return ModelReasoner(settings)


def reasoner_from(settings: Settings) -> "ModelReasoner | None":
    """Make the reasoner that the settings ask for.

    Returns:
        As `make_reasoner` does; None where no model is configured.

    Raises:
        MissingExtraError: pydantic-ai is not installed.
        ConfigurationError: The table ``[agents.model]`` does not fit.
    """
    model = settings.agents.model
    return None if model is None else make_reasoner(model)
