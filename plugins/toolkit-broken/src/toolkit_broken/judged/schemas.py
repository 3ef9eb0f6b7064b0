"""Data schemas of every kind."""

import dataclasses
from enum import Enum
from typing import ClassVar, Generic, NamedTuple, TypedDict, TypeVar

import pydantic
import pydantic.dataclasses
import pydantic.v1

T = TypeVar("T")


class Model(pydantic.BaseModel):
    title: str = ""


class ModelWithToolAttributes(pydantic.BaseModel):
    """Looks like a tool in every way, and is a schema."""

    name: str = "model_with_tool_attributes"

    def execute(self) -> str:
        return self.name


class V1Model(pydantic.v1.BaseModel):
    name: str = "v1_model"

    def execute(self) -> str:
        return self.name


class Root(pydantic.RootModel[list[int]]):
    name: ClassVar[str] = "root_model"

    def execute(self) -> list[int]:
        return self.root


class Page(pydantic.BaseModel, Generic[T]):
    items: list[T] = []


class _Shelf(Generic[T]):
    """No model; its alias below is a type expression all the same."""

    name = "shelf"

    def execute(self) -> str:
        return self.name


PageOfInt = Page[int]
ShelfOfInt = _Shelf[int]
ListOfModels = list[Model]

model_instance = Model(title="an instance")
model_with_tool_attributes_instance = ModelWithToolAttributes()
v1_model_instance = V1Model()
root_instance = Root([1])


@pydantic.dataclasses.dataclass
class PydanticDataclass:
    name: str = "pydantic_dataclass"

    def execute(self) -> str:
        return self.name


@dataclasses.dataclass
class PlainDataclass:
    title: str = ""


class Row(TypedDict):
    name: str


class Pair(NamedTuple):
    name: str = "pair"

    def execute(self) -> str:
        return self.name


class Colour(Enum):
    RED = "red"

    def execute(self) -> str:
        return self.value
