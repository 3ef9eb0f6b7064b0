"""The wire as documents: a JSON Schema, and an AsyncAPI description."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from toolkit.session.messages import COMMANDS, MESSAGES, VERSION

TITLE: Final = "toolkit wire"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema that every message fits, in either direction.

    ``$defs`` has each message by the name of its model, and ``ClientMessage`` and
    ``ServerMessage`` for all of one direction. A new object at each call.
    """
    refs = "#/$defs/"
    definitions = _definitions(refs)
    definitions["ClientMessage"] = _one_of(COMMANDS.values(), refs)
    definitions["ServerMessage"] = _one_of(MESSAGES.values(), refs)
    return {
        "$schema": DIALECT,
        "title": f"{TITLE}, version {VERSION}",
        "anyOf": [
            {"$ref": f"{refs}ClientMessage"},
            {"$ref": f"{refs}ServerMessage"},
        ],
        "$defs": dict(sorted(definitions.items())),
    }


def asyncapi() -> dict[str, Any]:
    """Return an AsyncAPI description of the websocket, as the server sees it.

    It receives commands and sends messages. A new object at each call.

    Source: AsyncAPI 3.0.0, operation object and channel object.
    """
    commands, messages = _names(COMMANDS), _names(MESSAGES)
    both = {**commands, **messages}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": TITLE,
            "version": f"{VERSION}.0.0",
            "description": "Ask agents, and watch their work. See wire.md.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8000",
                "protocol": "ws",
                "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            }
        },
        "channels": {
            "session": {
                "address": "/ws",
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in both
                },
            }
        },
        "operations": {
            **{f"receive_{name}": _operation("receive", name) for name in commands},
            **{f"send_{name}": _operation("send", name) for name in messages},
        },
        "components": {
            "messages": {name: _message(name, both[name]) for name in both},
            "schemas": _definitions("#/components/schemas/"),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _definitions(refs: str) -> dict[str, Any]:
    """Return the schema of every model, by its name."""
    models: list[type[BaseModel]] = [*COMMANDS.values(), *MESSAGES.values()]
    _, made = models_json_schema(
        [(one, "validation") for one in models], ref_template=refs + "{model}"
    )
    definitions: dict[str, Any] = made["$defs"]
    return definitions


def _one_of(models: Iterable[type[BaseModel]], refs: str) -> dict[str, Any]:
    """Return the schema of any one of several messages; ``type`` tells which."""
    return {"oneOf": [{"$ref": f"{refs}{one.__name__}"} for one in models]}


def _names(models: Mapping[Any, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Return the models by the types that they have on the wire."""
    return {str(name): model for name, model in models.items()}


def _operation(action: str, name: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/session"},
        "messages": [{"$ref": f"#/channels/session/messages/{name}"}],
    }


def _message(name: str, model: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": inspect.getdoc(model),
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
