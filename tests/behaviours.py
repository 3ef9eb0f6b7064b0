"""What this project promises, as ids with a sentence each; tests cite the ids.

``S`` ids are points of acceptance, ``B`` ids are failures made impossible. A test that
holds one says so at the end of its docstring: ``(S30, B1)``; a range is ``(S22-S26)``.
`tests/repo/test_behaviours.py` compares both ways: a test holds every promise here, and
no test cites what is not here.
"""

from collections.abc import Mapping
from typing import Final

BEHAVIOURS: Final[Mapping[str, str]] = {
    # the fault this project was made to rule out
    "S1": "The old failure is reproduced, word for word, on a broken configuration.",
    "S2": "Every way to register a tool is listed, and each refuses schemas.",
    "S3": "Registries of different connections and users never conflict.",
    "S5": "The guarding tests fail on that configuration, each with its message.",
    "S6": "The same tests pass with the filter and the scopes in place.",
    "S9": "A data schema cannot be executed as a tool.",
    "S10": "A tool has a name of its own; none is ever made from a metaclass.",
    "S11": "One user system has one registry; nothing opens a second one beside it.",
    "S12": "A registry lives as long as its scope, and is cleaned up with it.",
    "S13": "No race and no sharing: two users never have the same tool instance.",
    "S14": "The words of the old failure cannot be produced.",
    # how it is tested
    "S16": "Tests use the real components, not stand-ins for them.",
    "S17": "Tests look at what a user gets, not only at internals.",
    "S18": "A test can fail: the guards are seen red on code broken on purpose.",
    "S20": "A test from outside proves by a side effect that it really ran.",
    "S21": "There are four phases, and none needs a container.",
    "S22": "Schemas offered as tools are tested in all four phases.",
    "S23": "The number of registries is tested in all four phases.",
    "S24": "Opening and closing is tested in integration, e2e and mission critical.",
    "S25": "Concurrent users are tested in all four phases.",
    "S26": "Names and identity of tools are tested in unit and integration.",
    "S27": "No test swallows a failure.",
    "S28": "What is wrong fails; it does not warn.",
    # filter
    "S29": "A pydantic model class is no tool.",
    "S30": "A pydantic model instance is no tool.",
    "S31": "The refusal says that models are data schemas, not executable tools.",
    "S32": "No registration under a metaclass's name is ever tried.",
    "S33": "Nothing names a tool after the class of its class.",
    "S34": "What has no name is refused, or given a safe one; never a metaclass's.",
    "S35": "What has no execute is refused.",
    "S36": "Only what has the whole tool interface is accepted.",
    "S37": "Detection, rejection, naming and the interface each have their unit tests.",
    # registry and names
    "S38": "A name that is taken is refused.",
    "S39": "The refusal names the key and the registry.",
    "S40": "After a refusal the registry works, and its first entry is untouched.",
    "S41": "Users share no registry state.",
    "S42": "Two scopes may have tools of one name, each its own.",
    "S43": "Generated names are safe and deterministic.",
    "S44": "Names are unique; collisions are prevented and reported.",
    "S52": "The factory filters schemas out of what it is handed.",
    "S53": "Several dispatchers never make registries that conflict.",
    "S57": "Registering from several threads at once loses and doubles nothing.",
    "S58": "Who connects is who their verified token says.",
    "S82": "A scoped registry fills without the old error; the broken one raises it.",
    "S88": "A generic registry refuses a model instance with the agreed text.",
    "S89": "A generic registry refuses a model class with the agreed text.",
    "S90": "Naming a model, class or instance, never gives a metaclass's name.",
    "S91": "Without overriding, the second registration of a key says it is taken.",
    "S92": "The unit phase keeps to its seconds.",
    "S98": "A user system is built from a mixed list of tools and schemas.",
    "S99": "It lists its tools, each with a name.",
    "S100": "The real tool of the mixed list is there.",
    "S101": "The metaclass's name is not.",
    "S102": "No name made from a schema is there.",
    "S103": "The integration phase keeps to its seconds.",
    # tokens
    "S104": "A token is had from the helper, by e-mail address.",
    "S127": "The user's id is taken from the verified token.",
    # suites and gates
    "S150": "A suite holds that registries refuse schemas.",
    "S151": "A suite holds how registries treat duplicates.",
    "S152": "A suite holds that generated names are safe.",
    "S154": "A suite holds the whole of discovery.",
    "S161": "Phases run in order: unit, integration, e2e, mission critical.",
    "S162": "Each marker exists and selects tests.",
    "S163": "A commit is gated by the unit tests.",
    "S164": "Staging is gated by unit and integration tests.",
    "S165": "Production is gated by e2e and mission critical tests.",
    "S166": "Each phase says what fails before the fix and passes now.",
    "S167": "Without the remedies, tests fail in the expected way.",
    "S168": "With the filter alone, what it remedies passes.",
    "S169": "With the scopes alone, what they remedy passes.",
    "S170": "With the clean-up alone, what it remedies passes.",
    # components by name
    "S203": "ToolRegistry exists.",
    "S204": "UniversalRegistry exists, with allow_override.",
    "S205": "UserContextToolFactory exists.",
    "S206": "UnifiedToolDispatcher exists.",
    "S208": "A registry of one connection is made by create_websocket_scoped_registry.",
    "S210": "There is one pipeline of discovery.",
    "S212": "A tool system lists its tools with get_all_tools.",
    # filter, names, discovery
    "B1": "One classifier guards every way in, and knows every kind of schema.",
    "B2": "A registered factory is checked, and so is what it makes.",
    "B3": "Foreign tools enter by an adapter; drops are reported; none left is loud.",
    "B4": "A class where an instance is meant is an error that names the class.",
    "B5": "A name is never taken from a metaclass or an address.",
    "B6": "Names that meet are found, also by case, with all origins in the message.",
    "B7": "The interface check is strict, and a check that raises refuses.",
    "B8": "A tool's name is checked: kind, characters and length.",
    "B9": "Errors keep code, key, reason and origin, and their text says why.",
    "B10": "Faults of the caller and of the server are different errors.",
    "B11": "Every error has a stable code of its own.",
    "B12": "Discovery answers with a report; nothing is dropped in silence.",
    # registry
    "B13": "Registries are made in one place, one for a scope, and counted per user.",
    "B14": "Freezing is checked under the lock.",
    "B15": "A slow factory blocks nobody else.",
    "B16": "Replacing replaces tags and metadata too, and both are checked.",
    "B17": "Refused registrations are counted, and the worst status wins.",
    "B18": "Items and factories obey the same rule about duplicates.",
    "B19": "What a registry shows is a snapshot, never its inside.",
    "B20": "There is no stub that does nothing and succeeds.",
    # calls and events
    "B24": "A sink that fails or is missing never disturbs a call.",
    "B26": "What starts completes exactly once; what is denied never starts.",
    "B28": "Any result is written as JSON, or the error says why it cannot be.",
    "B29": "Secrets are blanked out by whole names; a cut result says that it is cut.",
    # isolation and life
    "B36": "One broken user system never keeps another from being made.",
    "B38": "No identity is kept from one token to the next.",
    "B39": "Correlation ids are whole, and never the same.",
    "B40": "Isolation holds by structure, and is tested by reachability.",
    "B41": "A closed system leaves no live object behind.",
    "B45": "Ids never come from a clock.",
    "B46": "Closing closes what the system made, and nothing else.",
    "B54": "Contexts are immutable and cheap to make.",
    "B55": "Importing the package is light.",
    "B56": "Locks are made with their owner.",
    "B57": "Call ids are unique across users.",
    # access
    "B58": "Permission belongs to the tool, and is checked at every call.",
    "B59": "Errors shadow no builtin, and no flag goes around the checks.",
    # drift
    "B66": "One test from outside goes the whole way, on every commit.",
    "B67": "A run that executes no test fails.",
    "B68": "Tests are seen to fail before they are trusted.",
}

IN_PART: Final[Mapping[str, str]] = {
    "S7": "Connections of users never fail for each other's registrations.",
    "S8": "Several users work at the same time.",
    "B22": "An outcome is told by named facts, never by their position.",
    "B23": "What failed is never wrapped in success.",
    "B27": "Types of events are a closed set.",
    "B30": "What cannot end is ended; nobody waits for ever.",
    "B31": "Deadlines are settled in one place, and the caller's counts.",
    "B32": "Nothing process-wide is set for one user and read for the next.",
    "B33": "Ids of different kinds are not mixed up.",
    "B34": "What serves one user ends with that user.",
    "B35": "Nothing of one user's run is kept where another's can meet it.",
    "B47": "What is kept for users is bounded.",
    "B49": "Health looks at the real state.",
    "B50": "What runs when its owner leaves is given up, and said to be.",
    "B52": "The event loop is not blocked.",
    "B53": "Nobody waits for another's slow work.",
    "B61": "No variable, header or option goes around the checks.",
    "B62": "Secrets stay out of texts and logs.",
    "B63": "A bad token is no failure of ours, and locks nobody out.",
    "B64": "A bad token is told as the client's fault.",
    "S213": "There are helpers for tokens and for connecting with them.",
    "S195": "There is a way back, and it is rehearsed.",
    "S196": "What happens to the catalog is told, counted, and in health.",
    "S215": "Agents have names and origins, and are loaded when they are asked for.",
    "B37": "Everybody is served from one path, before and after a change.",
    "B65": "Who calls comes from the context, never from the arguments.",
}
"""Points of work to come that the parts there are hold already; tests may cite them."""

MATRIX: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "S22": (
        frozenset({"S1", "S9", "S22", "S29", "S30", "S31", "S52", "S88", "S89", "B1"}),
        frozenset({"unit", "integration", "e2e", "mission_critical"}),
    ),
    "S23": (
        frozenset({"S3", "S11", "S23", "S41", "S42", "S53", "B13"}),
        frozenset({"unit", "integration", "e2e", "mission_critical"}),
    ),
    "S24": (
        frozenset({"S12", "S24", "B36", "B41", "B46"}),
        frozenset({"integration", "e2e", "mission_critical"}),
    ),
    "S25": (
        frozenset({"S13", "S25", "S57", "B15", "B56"}),
        frozenset({"unit", "integration", "e2e", "mission_critical"}),
    ),
    "S26": (
        frozenset({"S10", "S26", "S34", "S43", "S44", "S90", "B5", "B6"}),
        frozenset({"unit", "integration"}),
    ),
}
"""For each topic: the points that are about it, and the phases that must hold one."""

BUDGETS: Final[Mapping[str, float]] = {"unit": 15.0, "integration": 120.0}
"""Seconds that all tests of a phase may take together (S92, S103)."""

SUITES: Final[Mapping[str, frozenset[str]]] = {
    "S150": frozenset({"S29", "S30", "S31"}),
    "S151": frozenset({"S38", "S39", "S40"}),
    "S152": frozenset({"S34", "S43", "S44"}),
    "S154": frozenset({"S52", "B12"}),
    "S37": frozenset({"S29", "S30", "S33", "S36"}),
}
"""For each suite that must exist: the points that its tests hold."""
