"""`toolkit lock`, `manifest` and `cache`, on real files, as a person uses them."""

import json
from pathlib import Path

import pytest

from tests.distributions import good_tool
from tests.environments import Environment

ALLOWED = ("--allow", "a-dist", "--allow", "b-dist")
LOCKED = {"TOOLKIT_TRUST": "locked"}
RECORD = """\
a_mod/__init__.py,,
a_mod/inner.py,,
a_dist-1.0.dist-info/METADATA,,
a_dist-1.0.dist-info/entry_points.txt,,
a_dist-1.0.dist-info/RECORD,,
"""


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    here = Environment(tmp_path)
    files = {"a_mod/__init__.py": "", "a_mod/inner.py": good_tool("first")}
    folder = here.site.install("a-dist", {"toolkit.tools": {"a": "a_mod"}}, files)
    (folder / "RECORD").write_text(RECORD)
    here.site.install_tool("b-dist", "b_mod", "second")
    here.settle()
    return here


def listed(here: Environment, **environ: str) -> list[str]:
    done = here.toolkit(*ALLOWED, "list", environ=environ)
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


# --- lock -----------------------------------------------------------------------------


def test_locked_environment_works_and_the_lock_says_what_is_in_it(
    here: Environment,
) -> None:
    """Write the lock once, the same each time; what is as locked is used (S210)."""
    done = here.toolkit(*ALLOWED, "lock")
    assert done.returncode == 0, done.stderr
    assert "2 distributions locked in toolkit.lock" in done.stdout
    first = (here.folder / "toolkit.lock").read_bytes()
    here.toolkit(*ALLOWED, "lock")
    assert (here.folder / "toolkit.lock").read_bytes() == first
    locked = json.loads(first)["distributions"]["a-dist"]
    assert locked["version"] == "1.0"
    assert locked["tools"] == ["first"]
    assert "a_mod/inner.py" in locked["files"]
    assert listed(here, **LOCKED) == ["first", "second"]
    assert here.toolkit(*ALLOWED, "lock", "--check").returncode == 0


def test_one_byte_changed_is_refused_before_any_import(here: Environment) -> None:
    """Refuse what differs, say which file, and import nothing of it (S210)."""
    here.toolkit(*ALLOWED, "lock")
    inner = here.site.folder / "a_mod/inner.py"
    inner.write_text(inner.read_text() + "#")
    (here.site.folder / "a_mod/__init__.py").touch()
    assert listed(here, **LOCKED) == ["second"]
    why = here.toolkit(*ALLOWED, "why", "a-dist", environ=LOCKED)
    assert why.returncode == 1
    assert "not trusted" in why.stdout
    assert "a_mod/inner.py" in why.stdout
    assert "run `toolkit lock` again" in why.stdout
    check = here.toolkit(*ALLOWED, "lock", "--check")
    assert check.returncode == 1
    assert "a_mod/inner.py" in check.stdout
    assert "b-dist" not in check.stdout
    assert listed(here) == ["first", "second"]  # installed, and not trusted


def test_module_that_was_added_is_refused_too(here: Environment) -> None:
    """Scanning a package imports all of it, so an added module counts (S210)."""
    here.toolkit(*ALLOWED, "lock")
    marker = here.folder / "was_imported"
    here.site.write({"a_mod/evil.py": f"open({str(marker)!r}, 'w')"})
    assert listed(here, **LOCKED) == ["second"]
    assert not marker.exists()
    assert listed(here) == ["first", "second"]
    assert marker.exists()  # what the lock has kept from running


def test_lock_that_cannot_be_read_lets_nothing_in(here: Environment) -> None:
    """Fail closed, with what to do (B49)."""
    for content in (None, "{", '{"format": 99, "distributions": {}}'):
        lock = here.folder / "toolkit.lock"
        if content is not None:
            lock.write_text(content)
        done = here.toolkit(*ALLOWED, "list", environ=LOCKED)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "error[bad_configuration]" in done.stderr
        assert "toolkit lock" in done.stderr


def test_what_has_faults_is_not_locked_and_that_is_said(here: Environment) -> None:
    """Lock what works; name what does not."""
    here.site.install("c-dist", {"toolkit.tools": {"c": "nowhere"}})
    done = here.toolkit(*ALLOWED, "--allow", "c-dist", "lock", "--file", "my.lock")
    assert "c-dist is not locked" in done.stderr
    locked = json.loads((here.folder / "my.lock").read_text())["distributions"]
    assert sorted(locked) == ["a-dist", "b-dist"]


def test_change_between_discovery_and_first_call_is_refused(here: Environment) -> None:
    """Compare with the lock again before a known tool is imported (S210, B58)."""
    here.toolkit(*ALLOWED, "lock")
    code = """
import asyncio
from pathlib import Path
from toolkit import Settings, Toolkit, UserContext
import sys
async def main():
    settings = Settings(allow=frozenset({"a-dist", "b-dist"}), trust="locked")
    with Toolkit(settings) as kit:
        async with kit.user(UserContext(user_id="ann")) as ann:
            assert not [name for name in sys.modules if name.endswith("_mod")]
            inner = Path(sys.argv[1])
            inner.write_text(inner.read_text() + "#")
            for name in ("first", "second"):
                result = await ann.execute(name)
                print(name, result.ok, result.error and result.error.code)
asyncio.run(main())
"""
    here.toolkit(*ALLOWED, "list", environ=LOCKED)  # from here on both are known
    inner = here.site.folder / "a_mod/inner.py"
    done = here.run(code, str(inner))
    assert done.stdout.splitlines() == [
        "first False tool_unavailable",
        "second True None",
    ]
    assert "a_mod/inner.py" in done.stderr


# --- manifest -------------------------------------------------------------------------


def test_package_with_a_manifest_is_listed_without_an_import(
    here: Environment,
) -> None:
    """Trust a manifest that fits its sources, also without a cache (S210, B55)."""
    done = here.toolkit("manifest", "A_Dist")
    assert done.returncode == 0, done.stderr
    file = here.site.folder / "a_mod/toolkit-manifest.json"
    assert f"1 tool in {file}" in done.stdout
    first = file.read_bytes()
    here.toolkit("manifest", "a-dist")
    assert file.read_bytes() == first
    found = here.discover(cache=False)
    assert found["tools"] == ["first", "second"]
    assert found["loaded"] == ["b_mod"]
    assert found["failed"] == {}
    assert here.toolkit("manifest", "a-dist", "--check").returncode == 0


def test_manifest_that_disagrees_with_the_code_is_a_named_failure(
    here: Environment,
) -> None:
    """Name the file that differs, and go by the code (B12)."""
    here.toolkit("manifest", "a-dist")
    here.site.write({"a_mod/inner.py": good_tool("renamed")})
    found = here.discover(cache=False)
    assert found["tools"] == ["renamed", "second"]
    cause, detail = found["failed"]["a-dist"]
    assert cause == "manifest_disagrees"
    assert "a_mod/inner.py has changed" in detail
    assert found["status"] == "degraded"
    check = here.toolkit("manifest", "a-dist", "--check")
    assert check.returncode == 1
    assert "described differently" in check.stdout
    assert "error[manifest_disagrees]" in check.stderr
    why = here.toolkit(*ALLOWED, "why", "a-dist")
    assert "its manifest does not fit it" in why.stdout
    assert "toolkit manifest" in why.stdout


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 2}', "\udcff"])
def test_manifest_that_cannot_be_read_is_a_named_failure(
    here: Environment, content: str
) -> None:
    """Survive whatever is in the file (B12)."""
    file = here.site.folder / "a_mod/toolkit-manifest.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    found = here.discover(cache=False)
    assert found["tools"] == ["first", "second"]
    assert found["failed"]["a-dist"][0] == "manifest_disagrees"


def test_package_that_does_not_load_gets_no_manifest(here: Environment) -> None:
    """Say why there is none, and what could be meant by an unknown name."""
    here.site.install("c-dist", {"toolkit.tools": {"c": "nowhere"}})
    done = here.toolkit("manifest", "c-dist")
    assert done.returncode == 1
    assert "error[import_failed]: c: ModuleNotFoundError" in done.stderr
    done = here.toolkit("manifest", "a-dits")
    assert done.returncode == 2
    assert "did you mean a-dist?" in done.stderr


# --- cache ----------------------------------------------------------------------------


def test_cache_is_cleared_by_the_command(here: Environment) -> None:
    """Forget every environment, and say how many that were."""
    here.discover()
    assert here.discover()["loaded"] == []
    done = here.toolkit("cache", "clear")
    assert done.returncode == 0
    assert "forgotten" in done.stdout
    assert list((here.cache / "toolkit-core").glob("*.index")) == []
    assert here.discover()["loaded"] == ["a_mod", "b_mod"]
    assert (
        here.toolkit("cache", "clear", environ={"TOOLKIT_CACHE": "off"}).returncode == 0
    )


# --- what a hostile evening found -----------------------------------------------------


def name_of(value: object) -> str:
    return json.dumps(value)[:20]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("name", None),
        ("name", "evil name\n!!"),
        ("description", 5),
        ("input_schema_json", None),
        ("input_schema_json", "not json"),
        ("tags", [None]),
        ("required_scopes", [1]),
        ("timeout", "soon"),
    ],
    ids=name_of,
)
def test_manifest_with_a_part_that_is_none_is_a_named_failure(
    here: Environment, part: str, value: object
) -> None:
    """Check every part of what a package says of itself (B36)."""
    here.toolkit("manifest", "a-dist")
    file = here.site.folder / "a_mod/toolkit-manifest.json"
    manifest = json.loads(file.read_text())
    for one in manifest["found"]:
        if one.get("definition"):
            one["definition"][part] = value
    file.write_text(json.dumps(manifest))
    found = here.discover(cache=False)
    assert found["failed"]["a-dist"][0] == "manifest_disagrees"
    assert found["tools"] == ["first", "second"]


def test_manifests_of_one_namespace_do_not_meet(here: Environment) -> None:
    """Put the manifest into the distribution's own part of a namespace."""
    for name in ("one", "two"):
        points = {"toolkit.tools": {name: f"ns_pkg.{name}"}}
        files = {f"ns_pkg/{name}/__init__.py": good_tool(name)}
        here.site.install(f"ns-{name}", points, files)
        assert here.toolkit("manifest", f"ns-{name}").returncode == 0
    found = here.discover(cache=False, allow=["ns-one", "ns-two"])
    assert (found["tools"], found["failed"]) == (["one", "two"], {})
    assert (here.site.folder / "ns_pkg/two/toolkit-manifest.json").is_file()


def test_reference_of_any_length_harms_nobody(here: Environment) -> None:
    """Survive a reference that no file system takes (B36)."""
    here.site.install("long", {"toolkit.tools": {"x": f"{'a' * 300}:f"}})
    found = here.discover(cache=False)
    assert found["tools"] == ["first", "second"]
    assert found["failed"]["long"][0] == "import_failed"


def test_module_beside_a_locked_one_that_wins_over_it_is_refused(
    here: Environment,
) -> None:
    """Compare what would be imported, not only what RECORD names (S210)."""
    folder = here.site.folder / "b_dist-1.0.dist-info"
    here.site.write({"b_base.py": "text = 'b'"})
    (folder / "RECORD").write_text("b_mod.py,,\nb_base.py,,\n")
    here.toolkit(*ALLOWED, "lock")
    assert here.toolkit(*ALLOWED, "lock", "--check").returncode == 0
    here.site.write({"b_base/__init__.py": "raise SystemError('evil')"})
    assert here.toolkit(*ALLOWED, "lock", "--check").returncode == 1
    assert listed(here, **LOCKED) == ["first"]


def test_modules_of_the_settings_are_refused_where_only_locked_ones_count(
    here: Environment,
) -> None:
    """Import no module that no lock knows (S210)."""
    here.site.write({"extra_mod.py": "raise SystemError('imported')"})
    here.toolkit(*ALLOWED, "lock")
    done = here.toolkit(
        *ALLOWED, "--module", "extra_mod", "why", "extra_mod", environ=LOCKED
    )
    assert "[not_trusted]" in done.stdout or "not_trusted" in done.stdout
    assert "in no lock" in done.stdout
    assert "SystemError" not in done.stdout


def test_working_folder_that_is_gone_harms_nobody(here: Environment) -> None:
    """List what is installed also from a folder that was removed."""
    code = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
    done = here.run(code + "from toolkit.cli import main; main()", *ALLOWED, "list")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [
        "first",
        "second",
    ]


def test_tool_of_a_package_that_is_out_is_not_called_unknown(here: Environment) -> None:
    """Lead from a tool's name to the package that has it, and is out (S210)."""
    here.toolkit(*ALLOWED, "lock")
    inner = here.site.folder / "a_mod/inner.py"
    inner.write_text(inner.read_text() + "#")
    done = here.toolkit(*ALLOWED, "why", "first", environ=LOCKED)
    assert "a-dist published it when it was locked" in done.stdout
    assert "toolkit why a-dist" in done.stdout
