"""The generic registry: anything but schemas, under any key.

Safe between threads. No code of an item, factory or handler runs under the lock: what
is dropped dies after it is released, and keys that are strings are made plain ones. Of
a key of another class, Python itself asks ``__hash__`` and ``__eq__`` there, as of any
dictionary's; the lock is re-entrant, so that these, and what the garbage collector
finalizes at any moment, may use the registry too.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import GenericAlias, MappingProxyType, UnionType
from typing import Any, ClassVar, Final, Generic, NewType, NoReturn, TypeVar

from toolkit.contract import (
    RejectionReason,
    Subject,
    Verdict,
    judge_pydantic_model,
    judge_schema,
)
from toolkit.errors import (
    DuplicateKeyError,
    FactoryNotFoundError,
    RegistrationRejectedError,
    RegistryFrozenError,
    describe_error,
)

T = TypeVar("T")
D = TypeVar("D")

ValidationHandler = Callable[[str, Any], bool | str | None]
"""Judges an item: False or a text (the reason) refuses it; anything else does not."""

DEGRADED_SHARE: Final = 0.1
"""A larger share of refused registrations makes a registry ``degraded`` (B17)."""

_ALIASES: Final = (GenericAlias, UnionType, type(ClassVar[int]))
"""The kinds of type expressions; `typing` makes all of its own from the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Registration(Generic[T]):
    """What a registry keeps for one key. Immutable; each is equal to itself only.

    `facts` is what a kind of registry learned while it checked the value.
    """

    value: T
    facts: object = None
    tags: frozenset[str] = frozenset()
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class UniversalRegistry(Generic[T]):
    """Keeps items and factories under keys. Open until frozen; safe between threads.

    Takes any key and any value except pydantic schemas, which are never items: models,
    pydantic dataclasses, and type expressions that hold one, such as ``list[Model]``.
    Not looked into are a ``TypeAdapter``, a ``type`` statement's alias, a name in
    quotes and the dataclasses of pydantic v1. A registration that is refused leaves
    the registry as it was.

    Args:
        name: What messages call this registry.
        allow_override: Whether a key may be registered again; the newer one replaces
            value, tags and metadata as a whole.
    """

    def __init__(self, name: str, allow_override: bool = False) -> None:  # noqa: FBT001, FBT002 - the signature the issue fixes
        """Start empty."""
        self.name = name
        self.allow_override = allow_override
        self._lock = threading.RLock()  # see above, why it is re-entrant
        self._items: dict[str, Registration[T]] = {}
        self._factories: dict[str, Registration[Callable[[Any], T]]] = {}
        self._handlers: tuple[ValidationHandler, ...] = ()
        self._frozen = False
        self._on_change: Callable[[], object] | None = None
        self._counts: Counter[str] = Counter()

    # --- registering -------------------------------------------------------------

    def register(
        self, key: str, item: T, /, *, tags: Iterable[str] = (), **metadata: object
    ) -> None:
        """Keep `item` under `key`.

        Everything is checked first, then committed at once: readers see the old state
        or the new, and a refusal changes nothing.

        Args:
            key: The key.
            item: The item.
            tags: Labels for `list_by_tag`; a set or list of strings.
            **metadata: Anything else to keep beside it.

        Raises:
            RegistryFrozenError: The registry is frozen.
            DuplicateKeyError: The key is taken and overriding is not allowed.
            RegistrationRejectedError: The item is a schema, a handler refuses it, or
                `tags` is one bare string.
        """
        key = plain_key(key)
        with self._attempt():
            self._check_early(key, "")
            facts = self._examine(key, item)
            labels = self._tags(key, tags)
            entry = Registration(item, facts, labels, MappingProxyType(metadata))
            with self._lock:
                self._check_free(key, "")
                replaced = self._items.get(key), self._factories.pop(key, None)
                self._items[key] = entry
                self._counts["registered"] += 1
                self._changed()
            del replaced  # dies here: the lock is free

    def register_factory(
        self,
        key: str,
        factory: Callable[[Any], T],
        /,
        *,
        tags: Iterable[str] = (),
        **metadata: object,
    ) -> None:
        """Keep a factory under `key`; `create_instance` calls it with a context.

        Args:
            key: The key.
            factory: Called with the context, outside the lock; what it makes is
                checked like a registered item.
            tags: Labels for `list_by_tag`.
            **metadata: Anything else to keep beside it.

        Raises:
            RegistryFrozenError: The registry is frozen.
            DuplicateKeyError: The key is taken, by an item or by a factory.
            RegistrationRejectedError: The factory is a schema or cannot be called, or
                `tags` is one bare string.
        """
        key = plain_key(key)
        with self._attempt():
            self._check_early(key, "Factory ")
            self._check_key(key)
            self._refuse_schema(key, factory)
            if not callable(factory):
                self._refuse(key, "not_callable", "the factory cannot be called")
            labels = self._tags(key, tags)
            entry = Registration(factory, None, labels, MappingProxyType(metadata))
            with self._lock:
                self._check_free(key, "Factory ")
                replaced = self._items.pop(key, None), self._factories.get(key)
                self._factories[key] = entry
                self._counts["registered"] += 1
                self._changed()
            del replaced  # dies here: the lock is free

    def add_validation_handler(self, handler: ValidationHandler) -> Callable[[], None]:
        """Ask `handler` about every item from now on.

        A handler that raises refuses the item. Handlers run outside the lock.

        Returns:
            The undo: call it to stop asking.
        """
        with self._lock:
            self._handlers = (*self._handlers, handler)

        def undo() -> None:
            with self._lock:
                self._handlers = tuple(h for h in self._handlers if h is not handler)

        return undo

    def remove(self, key: str) -> bool:
        """Forget `key`; return whether it was there.

        Raises:
            RegistryFrozenError: The registry is frozen.
        """
        key = plain_key(key)
        with self._lock:
            self._check_frozen()
            dropped = self._forget(key)
        return bool(dropped)

    def clear(self) -> None:
        """Forget every item and factory. Handlers and counts stay.

        Raises:
            RegistryFrozenError: The registry is frozen.
        """
        with self._lock:
            self._check_frozen()
            dropped = [self._forget(key) for key in self._keys()]
        del dropped  # dies here: the lock is free

    def freeze(self) -> None:
        """Refuse every change from now on. Cannot be undone."""
        with self._lock:
            self._frozen = True

    # --- reading -----------------------------------------------------------------

    def get(self, key: str, default: D | None = None) -> T | D | None:
        """Return the item under `key`, else `default`. Never calls a factory."""
        key = plain_key(key)
        with self._lock:
            entry = self._items.get(key)
            self._counts["found" if entry is not None else "not_found"] += 1
        return default if entry is None else entry.value

    def create_instance(self, key: str, context: object) -> T:
        """Make an item with the factory under `key`. It is returned, not kept.

        The factory runs outside the lock; its product is checked like a registered
        item.

        Raises:
            FactoryNotFoundError: No factory has that key.
            RegistrationRejectedError: The product is a schema, or a handler refuses it.
            Exception: Whatever the factory raises.
        """
        key = plain_key(key)
        with self._lock:
            entry = self._factories.get(key)
        if entry is None:
            raise FactoryNotFoundError(key, self.name)
        return self._create(key, entry.value, context)

    def _create(self, key: str, factory: Callable[[Any], T], context: object) -> T:
        product = factory(context)
        self._examine(key, product)
        with self._lock:
            self._counts["created"] += 1
        return product

    def has(self, key: str) -> bool:
        """Tell whether an item or a factory has that key."""
        key = plain_key(key)
        with self._lock:
            return self._is_taken(key)

    def list_keys(self) -> tuple[str, ...]:
        """Return the keys of items, then of factories, in order of registration."""
        with self._lock:
            return self._keys()

    def list_by_tag(self, tag: str) -> tuple[str, ...]:
        """Return the keys that carry `tag`, in the order of `list_keys`."""
        with self._lock:
            labels = [(key, one.tags) for key, one in self._items.items()]
            labels += [(key, one.tags) for key, one in self._factories.items()]
        return tuple(key for key, tags in labels if tag in tags)

    def metadata(self, key: str) -> Mapping[str, Any]:
        """Return what was kept beside `key`; empty when there is no such key."""
        key = plain_key(key)
        with self._lock:
            entry = self._items.get(key) or self._factories.get(key)
        return MappingProxyType({}) if entry is None else entry.metadata

    @property
    def refused_schemas(self) -> int:
        """How many registrations were refused because they were pydantic models."""
        return self._counts["schemas"]

    @property
    def is_frozen(self) -> bool:
        """Whether changes are refused."""
        with self._lock:
            return self._frozen

    def get_metrics(self) -> dict[str, Any]:
        """Return a snapshot of the counts; all are whole numbers of events so far."""
        with self._lock:
            counts = dict(self._counts)
            items, factories = len(self._items), len(self._factories)
        registered = counts.get("registered", 0)
        failed = counts.get("failed", 0)
        return {
            "registry": self.name,
            "total_items": items,
            "total_factories": factories,
            "registration_attempts": registered + failed,
            "successful_registrations": registered,
            "failed_registrations": failed,
            "basemodel_rejections": counts.get("schemas", 0),
            "instances_created": counts.get("created", 0),
            "retrievals": counts.get("found", 0) + counts.get("not_found", 0),
            "retrieval_misses": counts.get("not_found", 0),
            "frozen": self.is_frozen,
        }

    def validate_health(self) -> dict[str, Any]:
        """Look at the registry's own state.

        Returns:
            ``status`` (the worst of healthy, degraded and unhealthy), ``issues`` (a
            list of sentences) and ``metrics`` (see `get_metrics`).
        """
        metrics = self.get_metrics()
        attempts = metrics["registration_attempts"]
        failed = metrics["failed_registrations"]
        issues = []
        if attempts and failed / attempts > DEGRADED_SHARE:
            issues.append(f"{failed} of {attempts} registrations were refused")
        status = "degraded" if issues else "healthy"
        return {"status": status, "issues": issues, "metrics": metrics}

    def __contains__(self, key: object) -> bool:
        """Tell whether an item or a factory has that key."""
        return self.has(key)  # type: ignore[arg-type]  # any key may be asked for

    def __iter__(self) -> Iterator[str]:
        """Iterate over a snapshot of the keys."""
        return iter(self.list_keys())

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.list_keys())

    def __repr__(self) -> str:
        """Name it and count its keys."""
        frozen = ", frozen" if self.is_frozen else ""
        return f"<{type(self).__name__} {self.name!r}, {len(self)} keys{frozen}>"

    # --- checks ------------------------------------------------------------------

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        """Count a registration that is refused, whatever refuses it (B17)."""
        try:
            yield
        except BaseException:
            with self._lock:
                self._counts["failed"] += 1
            raise

    def _check_frozen(self) -> None:
        """Refuse changes to a frozen registry. Holds the lock."""
        if self._frozen:
            raise RegistryFrozenError(self.name)

    def _check_early(self, key: str, kind: str) -> None:
        """Refuse at once what would be refused at the end, before any handler runs."""
        with self._lock:
            self._check_free(key, kind)

    def _check_free(self, key: str, kind: str) -> None:
        """Refuse a key that is taken. Holds the lock."""
        self._check_frozen()
        if self._is_taken(key) and not self.allow_override:
            raise DuplicateKeyError(key, self.name, kind)

    def _keys(self) -> tuple[str, ...]:
        """Return all keys. Holds the lock."""
        return (*self._items, *self._factories)

    def _forget(self, key: str) -> list[object]:
        """Drop a key and return all that was under it. Holds the lock.

        The caller keeps that until the lock is free: when it dies, its code may run.
        """
        found = self._items.pop(key, None), self._factories.pop(key, None)
        return [entry for entry in found if entry is not None]

    def _is_taken(self, key: str) -> bool:
        """Tell whether the key names something already. Holds the lock."""
        return key in self._items or key in self._factories

    def _changed(self) -> None:
        """Tell that a key may stand for something else now. Holds the lock."""
        if self._on_change is not None:
            self._on_change()

    def _check_key(self, key: str) -> None:
        """Refuse keys that this kind of registry cannot have; the generic takes any."""

    def _examine(self, key: str, item: object) -> object:
        """Refuse an item that may not be here, outside the lock.

        Returns:
            What this kind of registry learned about the item; None in the generic one.
        """
        self._check_key(key)
        self._refuse_schema(key, item)
        for handler in self._handlers:
            try:
                answer = handler(key, item)
            except Exception as error:  # noqa: BLE001 - a handler that raises refuses
                answer = describe_error(error)
            if answer is False or (isinstance(answer, str) and answer):
                reason = RejectionReason.REFUSED_BY_HANDLER
                self._refuse(key, reason, answer or "a validation handler refused it")
        return None

    def _refuse_schema(self, key: str, item: object) -> None:
        for held in _held(item):
            verdict = _judge(held)
            if verdict is not None and verdict.reason is not None:
                self._refuse(key, verdict.reason, verdict.detail)

    def _refuse(self, key: str, reason: str, detail: str) -> NoReturn:
        with self._lock:
            self._counts["schemas"] += reason == RejectionReason.PYDANTIC_MODEL
        raise RegistrationRejectedError(key, self.name, str(reason), detail)

    def _tags(self, key: str, tags: Iterable[str] | None) -> frozenset[str]:
        if isinstance(tags, str | bytes):
            self._refuse(key, "invalid_tags", f"tags is one string; pass {{{tags!r}}}")
        try:
            names = frozenset(tags or ())
        except TypeError as error:
            self._refuse(key, "invalid_tags", f"tags is no set: {error}")
        if not all(isinstance(name, str) and name for name in names):
            self._refuse(key, "invalid_tags", "tags holds something other than names")
        return names


def plain_key(key: str) -> str:
    """Return the plain text of a string, whatever its class makes of it.

    What is no string comes back as it is.
    """
    return str.__str__(key) if issubclass(type(key), str) else key


def _judge(item: object) -> Verdict | None:
    """Judge whether something is a pydantic schema. Runs none of its code."""
    subject = Subject(item, "execute")
    verdict = judge_pydantic_model(subject)
    if verdict is not None:
        return verdict
    verdict = judge_schema(Subject(subject.cls, "execute"))  # the mark is on the class
    if verdict is None or verdict.reason is not RejectionReason.PYDANTIC_DATACLASS:
        return None  # enums, exceptions and the like are items as any
    return verdict


def _held(item: object) -> Iterator[object]:
    """Yield the item, and each type that it holds when it is a type expression."""
    waiting, seen = [item], set[int]()
    while waiting:
        one: Any = waiting.pop()
        if id(one) in seen:  # an expression may hold another a million times
            continue
        seen.add(id(one))
        yield one
        if issubclass(type(one), _ALIASES):
            waiting.extend(one.__args__)
        elif type(one) is NewType:
            waiting.append(one.__supertype__)
