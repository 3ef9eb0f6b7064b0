"""The documents: what they show is run, what they link to exists."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repo.documents import Sandbox, agree, blocks, commands, in_pairs
from tests.repo.sources import ROOT, our_files

PAGES = [path for path in our_files() if path.suffix == ".md"]
RUN = [
    path
    for path in PAGES
    if any(one.language in ("python", "console") for one in blocks(path))
]


def name(path: Path) -> str:
    """Name a page by its path in the project."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.e2e
@pytest.mark.timeout(120)  # builds and installs; the machine may be busy
@pytest.mark.parametrize("page", RUN, ids=name)
def test_what_a_page_shows_works_as_shown(page: Path, tmp_path: Path) -> None:
    """Run all that a page shows, and compare with the output it shows (S17, B66)."""
    sandbox, shown = Sandbox(tmp_path), blocks(page)
    if page.is_relative_to(ROOT / "plugins"):
        shutil.copytree(page.parent, sandbox.cwd, dirs_exist_ok=True)
    if any(">>>" in one.text for one in shown):
        sandbox.doctest(page)
    for block in shown:
        if block.file:
            sandbox.write(block)
        elif block.language == "console":
            for command, want in commands(block):
                got = sandbox.shell(command)
                assert not want or agree(want, got), f"$ {command}\n{got}"
    pairs = in_pairs(shown)
    printed = sandbox.notebook([text for text, _ in pairs]) if pairs else []
    for (text, want), got in zip(pairs, printed, strict=True):
        assert agree(want, got), f"{text}\nprints:\n{got}"


def test_the_pages_that_must_be_run_are_run() -> None:
    """Never let a page drop out of the runner because its blocks changed language."""
    wanted = {
        "README.md",
        "docs/tutorial-backend.md",
        "docs/tutorial-tool-author.md",
        "plugins/toolkit-text/README.md",
    }
    assert wanted <= {name(page) for page in RUN}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Resolve each relative link of a page, with its anchor."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{name(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
    return {title.replace(" ", "-") for title in plain}


def test_make_targets_that_pages_name_exist() -> None:
    """Name no `make` target that the Makefile does not have."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        quoted = re.findall(r"`make ([a-z-]+)", text)
        for target in quoted + re.findall(r"^ *make ([a-z-]+)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.integration
def test_generated_pages_are_up_to_date() -> None:
    """Regenerate the reference pages and find nothing to change."""
    pytest.importorskip("typer", reason="the extra `cli` is not installed")
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, str(ROOT / "scripts/generate_docs.py"), "--check"],
        capture_output=True,
        encoding="utf-8",
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_readme_shows_a_shorter_form_of_the_template_package() -> None:
    """Show ten lines with a name and an entry point that the template has (S17)."""
    shown = blocks(ROOT / "README.md")
    template = ROOT / "plugins/toolkit-text"
    example = next(one for one in shown if "class WordCount" in one.text)
    assert example in blocks(template / "README.md")
    assert "shorter form" in (ROOT / "README.md").read_text(encoding="utf-8")
    tools = (template / "src/toolkit_text/tools.py").read_text(encoding="utf-8")
    heads = [line for line in example.text.splitlines() if "word_count" in line]
    assert heads[0] in tools.splitlines()
    entry = next(one for one in shown if one.language == "toml")
    assert entry.text in (template / "pyproject.toml").read_text(encoding="utf-8")
    lines = [line for line in example.text.splitlines() if line.strip()]
    assert len(lines) <= 10


def test_readme_has_the_order_that_readers_are_promised() -> None:
    """Keep to the order: install, taste, picture, plugin, chat, next, status."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Install",
        "Taste",
        "The picture",
        "Write a plugin in ten lines",
        "Run the chat backend",
        "Where next",
        "Status",
    ]
    first = text.split("\n\n")[1]
    assert first.endswith(".")
    assert first.count(". ") == 0
    assert "](http" not in text.partition("## Install")[0]  # no badges
