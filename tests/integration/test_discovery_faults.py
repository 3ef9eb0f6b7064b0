"""One bad distribution never hides the others, and is named with its origin."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.distributions import Site, good_tool, open_site
from toolkit import Origin, UserContext, UserContextToolFactory
from toolkit.discovery.index import TOOLS


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as site:
        site.install_tool("a-first", "first_mod", "first")
        site.install_tool("z-last", "last_mod", "last")
        yield site


@dataclass(frozen=True)
class Fault:
    """A way to be broken, and what the report must say about it."""

    source: str
    reference: str = "faulty"
    failed: str = ""
    rejected: str = ""


FAULTS = {
    "import error": Fault(
        "import a_module_that_nobody_ever_installs",
        failed="ModuleNotFoundError: No module named 'a_module_that_nobody",
    ),
    "syntax error": Fault("def f(:", failed="SyntaxError: "),
    "null bytes": Fault("\x00", failed="SyntaxError: "),
    "missing module": Fault("", "faulty_not", failed="ModuleNotFoundError: "),
    "missing attribute": Fault("", "faulty:Tool", failed="AttributeError: "),
    "missing inner attribute": Fault(
        "class A: pass", "faulty:A.b", failed="AttributeError: "
    ),
    "malformed reference": Fault("", "Word Count!", failed="ValueError: 'Word Count!'"),
    "empty reference": Fault("", "", failed="ValueError: '' is no object reference"),
    "raising __getattr__": Fault(
        "def __getattr__(name): raise RuntimeError(name)",
        "faulty:tool",
        failed="RuntimeError: tool",
    ),
    "sys.exit": Fault("import sys; sys.exit('bye')", failed="SystemExit: bye"),
    "exit": Fault("raise SystemExit", failed="SystemExit"),
    "base exception": Fault(
        "class Own(BaseException): pass\nraise Own('mine')", failed="Own: mine"
    ),
    "generator exit": Fault("raise GeneratorExit", failed="GeneratorExit"),
    "cancelled": Fault(
        "import asyncio; raise asyncio.CancelledError", failed="CancelledError"
    ),
    "interrupt": Fault("raise KeyboardInterrupt", failed="KeyboardInterrupt"),
    "interrupt in a probe": Fault(
        "class T:\n  def __init__(self): raise KeyboardInterrupt\n"
        "  def execute(self): ...",
        "faulty:T",
        failed="KeyboardInterrupt",
    ),
    "interrupt in an iterable": Fault(
        "class T:\n  def __iter__(self): raise KeyboardInterrupt\ntools = T()",
        "faulty:tools",
        failed="KeyboardInterrupt",
    ),
    "interrupt in an annotation": Fault(
        "class A:\n"
        "  @classmethod\n"
        "  def __get_pydantic_core_schema__(c, s, h): raise KeyboardInterrupt\n"
        "class T:\n  name = 't'\n  def execute(self, a: A) -> int: ...",
        "faulty:T",
        failed="KeyboardInterrupt",
    ),
    "recursion": Fault("def f(): f()\nf()", failed="RecursionError: "),
    "memory": Fault("raise MemoryError('all of it')", failed="MemoryError: all of it"),
    "group": Fault(
        "raise ExceptionGroup('many', [ValueError('one')])", failed="ExceptionGroup: "
    ),
    "warning as error": Fault(
        "import warnings; warnings.warn('old', DeprecationWarning)",
        failed="DeprecationWarning: old",
    ),
    "unprintable error": Fault(
        "class E(Exception):\n  __str__ = __repr__ = lambda self: 1 / 0\nraise E",
        failed="E (its text cannot be read)",
    ),
    "error that exits when shown": Fault(
        "import sys\nclass E(Exception):\n  def __str__(self): sys.exit()\nraise E",
        failed="E (its text cannot be read)",
    ),
    "error of a hostile class": Fault(
        "class M(type):\n  def __getattribute__(c, n): raise RuntimeError(n)\n"
        "class E(Exception, metaclass=M): pass\nraise E",
        failed="E",
    ),
    "surrogates": Fault("raise ValueError('\\ud800')", failed="ValueError: "),
    "iterable that raises": Fault(
        "class Each:\n  def __iter__(self):\n    yield 3\n"
        "    raise RuntimeError('halfway')\ntools = Each()",
        "faulty:tools",
        failed="RuntimeError: halfway",
    ),
    "endless iterable": Fault(
        "import itertools\n"
        "class Each:\n  def __iter__(self): return itertools.count()\ntools = Each()",
        "faulty:tools",
        failed="more than 10000 items",
    ),
    "iterator that is empty the second time": Fault(
        "tools = iter([int])",
        "faulty:tools",
        failed="it is an iterator, which is empty the second time; publish a list",
    ),
    "iterable that exits": Fault(
        "class Exits:\n  def __iter__(self): raise SystemExit(3)\ntools = Exits()",
        "faulty:tools",
        failed="SystemExit: 3",
    ),
    "mapping that raises": Fault(
        "class Bad(dict):\n  def values(self): raise RuntimeError('no')\ntools = Bad()",
        "faulty:tools",
        failed="RuntimeError: no",
    ),
    "path is a number": Fault("__path__ = 3", failed="TypeError: "),
    "raising property": Fault(
        "class A:\n  name = property(lambda self: 1 / 0)\n"
        "  def execute(self): ...\ntool = A()",
        "faulty:tool",
        rejected="unreadable",
    ),
    "metaclass that raises": Fault(
        "class M(type):\n  def __getattribute__(c, n): raise RuntimeError(n)\n"
        "  def __eq__(c, o): raise RuntimeError\n"
        "  def __hash__(c): raise RuntimeError\n"
        "class A(metaclass=M): pass",
        "faulty:A",
        rejected="missing_execute",
    ),
    "metaclass that invents": Fault(
        "class M(type):\n  def __getattr__(c, n): return 'all'\n"
        "class A(metaclass=M): pass",
        "faulty:A",
        rejected="missing_execute",
    ),
    "instance of a hostile class": Fault(
        "class M(type):\n  def __hash__(c): raise RuntimeError\n"
        "  def __eq__(c, o): raise RuntimeError\n"
        "class A(metaclass=M): pass\ntool = A()",
        "faulty:tool",
        rejected="missing_execute",
    ),
    "__class__ that lies": Fault(
        "import types\nclass A:\n"
        "  __class__ = property(lambda self: types.ModuleType)\ntool = A()",
        "faulty:tool",
        rejected="missing_execute",
    ),
    "__class__ that raises": Fault(
        "class A:\n  __class__ = property(lambda self: 1 / 0)\ntool = A()",
        "faulty:tool",
        rejected="missing_execute",
    ),
    "schema that lies": Fault(
        "import pydantic\nclass A(pydantic.BaseModel):\n  name: str = 'a'\n"
        "  __class__ = property(lambda self: str)\n"
        "  def execute(self): ...\ntool = A()",
        "faulty:tool",
        rejected="pydantic_model",
    ),
    "constructor that exits": Fault(
        "import sys\nclass A:\n  def __init__(self): sys.exit(2)\n"
        "  def execute(self): ...",
        "faulty:A",
        rejected="constructor_failed",
    ),
    "copy that exits": Fault(
        "import sys\nclass A:\n  name = 'a'\n  def execute(self): ...\n"
        "  def __deepcopy__(self, memo): sys.exit(2)\ntool = A()",
        "faulty:tool",
        rejected="not_copyable",
    ),
    "exception published": Fault(
        "tool = ValueError('not raised')", "faulty:tool", rejected="exception"
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_is_named_with_its_origin_and_hides_nothing(
    site: Site, fault: Fault
) -> None:
    """Survive every fault of a package, and say whose it is (S210, S154, B12)."""
    site.install(
        "m-faulty", {TOOLS: {"x": fault.reference}}, {"faulty.py": fault.source}
    )
    catalog, report = site.discover()
    assert catalog.names() == ("first", "last")
    assert report.status == "degraded"
    (found,) = report.failed if fault.failed else report.rejected
    assert len(report.failed) + len(report.rejected) == 1
    assert found.detail.startswith(fault.failed)
    assert str(found.reason or "") == fault.rejected
    place = (found.origin.distribution, found.origin.version, found.origin.entry_point)
    assert place == ("m-faulty", "1.0", "x")
    (error,) = report.faults()
    assert "m-faulty 1.0 (toolkit.tools: x = " in str(error)


@pytest.mark.parametrize("kind", ["path", "meta_path", "path_hooks"])
@pytest.mark.parametrize("change", ["clear()", "insert(0, Poison())"])
def test_plugin_that_spoils_imports_hides_nothing(
    site: Site, kind: str, change: str
) -> None:
    """Another's module is found after it as before it (S210)."""
    source = f"""
        import sys
        class Poison(str):
            def __call__(self, path): raise RuntimeError("poison")
            def find_spec(self, *_): raise RuntimeError("poison")
        sys.{kind}.{change}
    """
    site.install("m-bad", {TOOLS: {"x": "spoils"}}, {"spoils.py": source})
    before = list(getattr(sys, kind))
    try:
        catalog, _ = site.discover()
        assert catalog.names() == ("first", "last")
        assert getattr(sys, kind)[: len(before)] == before
    finally:
        getattr(sys, kind)[:] = before


def test_all_faults_at_once_hide_nothing(site: Site) -> None:
    """Survive all of them in one process, each named (S210, B12)."""
    for index, (label, fault) in enumerate(FAULTS.items()):
        name = f"faulty_{index}"
        reference = fault.reference.replace("faulty", name)
        points = {TOOLS: {label.replace(" ", "-"): reference}}
        site.install(f"bad-{index}", points, {f"{name}.py": fault.source})
    catalog, report = site.discover()
    assert catalog.names() == ("first", "last")
    wanted = {f"bad-{index}" for index in range(len(FAULTS))}
    assert {
        one.origin.distribution for one in report.failed + report.rejected
    } == wanted
    assert len(report.faults()) == len(FAULTS)


def test_good_tool_of_a_bad_distribution_survives(site: Site) -> None:
    """Judge each entry point on its own: a fault is no collective guilt."""
    points = {TOOLS: {"bad": "mixed:missing", "good": "mixed:Good", "worse": "nowhere"}}
    site.install("mixed", points, {"mixed.py": good_tool("survivor")})
    catalog, report = site.discover()
    assert "survivor" in catalog
    assert {one.origin.entry_point for one in report.failed} == {"bad", "worse"}


@pytest.mark.parametrize(
    ("points", "metadata"),
    [
        ("[toolkit.tools]\nx = ä:A\n".encode("latin-1"), None),
        ("[toolkit.tools]\nthis is junk\n", None),
        ("[toolkit.tools]\nx = faulty:A\n", "Metadata-Version: 2.1\n"),
        ("[toolkit.tools]\nx = faulty:A\n", b"\xff\xfe"),
        ("[toolkit.tools]\nx = faulty:A\n", ""),
    ],
    ids=["latin-1", "junk", "no name", "binary", "no metadata"],
)
def test_broken_metadata_is_named_and_hides_nothing(
    site: Site, points: str | bytes, metadata: str | bytes | None
) -> None:
    """Name the distribution whose metadata cannot be read (S210, B12)."""
    site.install("m-faulty", points, metadata=metadata)
    catalog, report = site.discover()
    assert catalog.names() == ("first", "last")
    (failed,) = report.failed
    assert failed.origin.distribution == "m-faulty"
    assert failed.detail.startswith("broken ")


def test_empty_metadata_folder_is_nothing(site: Site) -> None:
    """Look past what an interrupted uninstall leaves behind."""
    site.install("leftover", metadata="")
    catalog, report = site.discover()
    assert catalog.names() == ("first", "last")
    assert report.status == "healthy"


def test_same_key_twice_is_judged_twice(site: Site) -> None:
    """Tell a repetition from a collision when metadata repeats a key (B6)."""
    points = "[toolkit.tools]\nx = twice:Good\nx = twice:Good\nx = twice:Other\n"
    source = good_tool("same") + good_tool("other", "Other")
    site.install("twice", points, {"twice.py": source})
    catalog, report = site.discover()
    assert {"same", "other"} <= set(catalog.names())
    assert [str(one.reason) for one in report.rejected] == ["same_object"]


async def test_tool_behind_a_hostile_metaclass_still_runs_for_a_user(
    site: Site,
) -> None:
    """Keep what keeps the contract, however odd its class is (S36)."""
    source = """
        class Meta(type):
            def __getattribute__(cls, name):
                if name in ("name", "execute"):
                    raise RuntimeError(name)
                return super().__getattribute__(name)
            def __eq__(cls, other): raise RuntimeError("eq")
            def __hash__(cls): raise RuntimeError("hash")
        class Odd(metaclass=Meta):
            name = "odd"
            def execute(self) -> str:
                return "works"
    """
    points = {TOOLS: {"class": "odd:Odd"}}
    site.install("odd", points, {"odd.py": source})
    catalog, report = site.discover()
    assert report.status == "healthy"
    factory = UserContextToolFactory(catalog)
    with factory.create_user_tool_system(UserContext(user_id="ada")) as ada:
        result = await ada.dispatcher.execute("odd", {})
    assert result.unwrap() == "works"
    assert catalog.origin("odd") == Origin("odd", "1.0", TOOLS, "class", "odd:Odd")
