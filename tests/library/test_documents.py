"""The documents of the library say what is so."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import microcluster_token_consumer as library
import reference

DOCS = reference.ROOT / "docs"


def test_the_reference_is_of_this_library() -> None:
    assert (DOCS / "library-reference.md").read_text() == reference.reference()


def test_the_charm_library_is_the_package_to_the_letter() -> None:
    charm_library = "lib/charms/microcluster_token_distributor/v1/token_distributor.py"
    text = (reference.ROOT / reference.LIBRARY).read_bytes()
    assert (reference.ROOT / charm_library).read_bytes() == text


def test_the_changelog_and_the_package_name_one_version() -> None:
    package = reference.ROOT / "library"
    project = (package / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"$', project, re.MULTILINE)
    assert version
    assert version[1].startswith(f"{library.LIBAPI}.{library.LIBPATCH}.")
    first = re.search(r"^## \[(.*?)\]", (package / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    assert first[1] == version[1]


def test_the_tutorial_leads_to_a_charm_that_passes_its_test(tmp_path: Path) -> None:
    """A fresh folder, and only what the page says: its files and its commands, in its order."""
    clone = tmp_path / "clone"
    tracked = subprocess.run(
        ["git", "ls-files", "lib", "library"], cwd=reference.ROOT, capture_output=True, text=True
    )
    for name in tracked.stdout.splitlines():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((reference.ROOT / name).read_bytes())

    text = (DOCS / "tutorial-consumer.md").read_text()
    file = r"This is\s(?:all of )?`([^`]+)`[:.]\n\n```\w+\n(.*?)```"
    commands = r"```sh tutorial\n(.*?)```"
    script, names = "set -e\n", list[str]()
    for name, content, lines in re.findall(f"{file}|{commands}", text, re.DOTALL):
        if name:
            names.append(name)
            script += f"cat > {name} <<'END OF FILE'\n{content}END OF FILE\n"
        else:
            script += lines
    assert sorted(names) == [
        "charmcraft.yaml",
        "requirements.txt",
        "src/charm.py",
        "tests/unit/test_charm.py",
    ]
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    run = subprocess.run(
        ["bash", "-c", script], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr
    code = (tmp_path / "my-microovn/src/charm.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) <= 40
