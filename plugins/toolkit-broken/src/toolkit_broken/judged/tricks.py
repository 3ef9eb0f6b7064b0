"""Classes that raise, or lie, when they are looked at."""

import pydantic


class RaisingMeta(type):
    """Raises in everything that code does with a class without thinking."""

    def __getattribute__(cls, name):
        raise RuntimeError(f"metaclass __getattribute__({name})")

    def __instancecheck__(cls, instance):
        raise RuntimeError("metaclass __instancecheck__")

    def __subclasscheck__(cls, subclass):
        raise RuntimeError("metaclass __subclasscheck__")

    def __eq__(cls, other):
        raise RuntimeError("metaclass __eq__")

    def __hash__(cls):
        raise RuntimeError("metaclass __hash__")

    def __repr__(cls):
        raise RuntimeError("metaclass __repr__")

    def __bool__(cls):
        raise RuntimeError("metaclass __bool__")


class HashlessMeta(type):
    """Raises only when compared or hashed, as dicts and sets do."""

    __eq__ = RaisingMeta.__eq__
    __hash__ = RaisingMeta.__hash__


class InventiveMeta(type):
    """Has whatever it is asked for."""

    def __getattr__(cls, name):
        return "inventive" if name == "name" else (lambda *args, **kwargs: name)


class EverythingRaises(metaclass=RaisingMeta):
    """Keeps the contract, and lets nobody look: a tool, as reading it is static."""

    name = "everything_raises"

    def execute(self) -> str:
        return "called all the same"


class CannotBeHashed(metaclass=HashlessMeta):
    """Odd, but it keeps the contract: a tool."""

    name = "cannot_be_hashed"

    def execute(self) -> str:
        """Say that it works all the same."""
        return "called all the same"


class ClaimsToHaveAll(metaclass=InventiveMeta):
    pass


class DisguisedModel(pydantic.BaseModel):
    """A schema that says it is something else."""

    name: str = "disguised_model"

    @property
    def __class__(self):
        return str

    def execute(self) -> str:
        return self.name


class LiesAboutItsClass:
    """Says that it is a schema; `isinstance` believes it."""

    @property
    def __class__(self):
        return DisguisedModel

    def execute(self) -> str:
        return "not a schema, and not a tool"


class _RaisesAboutItsClass:
    name = "raises_about_its_class"

    @property
    def __class__(self):
        raise RuntimeError("__class__")

    def execute(self) -> str:
        return "called all the same"


class _EveryAttributeRaises:
    name = "every_attribute_raises"

    def __getattribute__(self, name):
        raise RuntimeError(f"__getattribute__({name})")

    def execute(self) -> str:
        return "called all the same"


disguised_model_instance = DisguisedModel()
lies_about_its_class = LiesAboutItsClass()
raises_about_its_class = _RaisesAboutItsClass()
every_attribute_raises = _EveryAttributeRaises()
