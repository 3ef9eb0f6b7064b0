"""Classes and instances that nearly are tools."""

from abc import ABC, abstractmethod
from json import JSONDecoder
from threading import Lock
from typing import Protocol

from toolkit import tool
from toolkit_broken.still_here import StillHere


class ToolFailure(Exception):
    name = "tool_failure"

    def execute(self) -> str:
        return self.name


class ToolLike(Protocol):
    name: str

    def execute(self) -> str: ...


class AbstractTool(ABC):
    name = "abstract_tool"

    @abstractmethod
    def execute(self) -> str: ...


class WithoutName:
    def execute(self) -> str:
        return "nameless"


class WithoutExecute:
    name = "without_execute"


class ExecuteIsANumber:
    name = "execute_is_a_number"
    execute = 3


class NumberAsName:
    name = 7

    def execute(self) -> str:
        return "seven"


class EmptyName:
    name = ""

    def execute(self) -> str:
        return self.name


class NameWithSpaces:
    name = "two words"

    def execute(self) -> str:
        return self.name


class NameTooLong:
    name = "n" * 65

    def execute(self) -> str:
        return self.name


class NamedAfterAMetaclass:
    name = "modelmetaclass"

    def execute(self) -> str:
        return self.name


class NeedsADatabase:
    name = "needs_a_database"

    def __init__(self, connection_string: str) -> None:
        self.connection_string = connection_string

    def execute(self) -> str:
        return self.connection_string


class ConstructorRaises:
    """Its name would be set in the constructor."""

    def __init__(self) -> None:
        raise RuntimeError("no licence on this machine")

    def execute(self) -> str:
        return "never"


class UnresolvableAnnotation:
    name = "unresolvable_annotation"

    def execute(self, text: "TypeThatIsNowhere") -> str:
        return str(text)


class ArgumentWithoutSchema:
    name = "argument_without_schema"

    def execute(self, decoder: JSONDecoder) -> str:
        return str(decoder)


class StarArguments:
    name = "star_arguments"

    def execute(self, *texts: str) -> str:
        return " ".join(texts)


class _Private:
    name = "private"

    def execute(self) -> str:
        return self.name


@tool
def _private_function() -> str:
    return "private"


def plain_function(text: str) -> str:
    return text


class NamePropertyRaises:
    @property
    def name(self) -> str:
        raise RuntimeError("the name is not known yet")

    def execute(self) -> str:
        return "never"


class ExecutePropertyRaises:
    name = "execute_property_raises"

    @property
    def execute(self) -> object:
        raise RuntimeError("not now")


class _HoldsALock:
    """Published as an instance, which cannot be copied for each user."""

    name = "holds_a_lock"

    def __init__(self) -> None:
        self.lock = Lock()

    def execute(self) -> str:
        return self.name


still_here_again = StillHere
holds_a_lock = _HoldsALock()
name_property_raises = NamePropertyRaises()
execute_property_raises = ExecutePropertyRaises()
