"""The documents of the library say what is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import reference

DOCS = reference.ROOT / "docs"


def test_the_reference_is_of_this_library() -> None:
    assert (DOCS / "library-reference.md").read_text() == reference.reference()


def test_the_charm_of_the_tutorial_passes_its_test(tmp_path: Path) -> None:
    """It is taken from the text as it is written there, and nothing else."""
    text = (DOCS / "tutorial-consumer.md").read_text()
    blocks = re.findall(r"This is\s(?:all of )?`([^`]+)`[:.]\n\n```\w+\n(.*?)```", text, re.DOTALL)
    files = dict(blocks)
    assert sorted(files) == ["charmcraft.yaml", "src/charm.py", "tests/unit/test_charm.py"]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    code = [line for line in files["src/charm.py"].splitlines() if line.strip()]
    assert len(code) <= 40

    path = os.pathsep.join([str(tmp_path / "src"), str(reference.ROOT / "lib")])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "1 passed" in run.stdout, run.stdout + run.stderr
