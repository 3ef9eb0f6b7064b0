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
