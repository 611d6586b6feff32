"""The package as charms get it: its wheel in clean environments. `make package` runs this.

It needs uv, the Pythons below where they are there, and the package index. EVERY_PAIR=1 tests each
`ops` with each Python; otherwise each of them is tested once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The oldest and the newest of each major version that the package names.
OPS = ["ops[testing]==2.17.0", "ops[testing]<3", "ops[testing]==3.0.0", "ops[testing]<4"]
PYTHONS = ["3.10", "3.12", "3.13"]
EVERY_PAIR = [(python, ops) for python in PYTHONS for ops in OPS]
EACH_ONCE = list(zip(["3.10", *PYTHONS], OPS, strict=True))
PAIRS = EVERY_PAIR if os.environ.get("EVERY_PAIR") else EACH_ONCE

CHARM = '''"""A charm that uses all that the package offers."""

from __future__ import annotations

import ops
from microcluster_token_consumer import (
    ClusterCommand,
    ClusterJoinedEvent,
    CommandFailed,
    Member,
    TokenConsumer,
    TokenRefusedEvent,
    read_members,
)


class MyCharm(ops.CharmBase):
    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        words = ("microceph", "cluster")
        command = ClusterCommand(words, remove_limit=20, read_members=read_members)
        self.cluster = TokenConsumer(
            self,
            "cluster",
            command,
            ready=self.ready,
            bootstrap_args_func=lambda: ["--cluster-network", "10.0.0.0/8"],
            leave_on_remove="force",
            sets_status=False,
        )
        framework.observe(self.on.upgrade_charm, self._on_upgrade_charm)
        framework.observe(self.cluster.on.joined, self._on_joined)
        framework.observe(self.cluster.on.token_refused, self._on_token_refused)
        framework.observe(self.on.collect_unit_status, self._on_collect_unit_status)

    def ready(self) -> str | None:
        return None if self.config.get("network") else "the option network is not set"

    def members(self) -> tuple[Member, ...]:
        try:
            return self.cluster.cluster.list()
        except CommandFailed:
            return ()

    def _on_upgrade_charm(self, _: ops.UpgradeCharmEvent) -> None:
        self.cluster.adopt()

    def _on_joined(self, event: ClusterJoinedEvent) -> None:
        assert event.bootstrapper or self.cluster.in_cluster

    def _on_token_refused(self, event: TokenRefusedEvent) -> None:
        print(event.fingerprint.upper())

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(self.cluster.status)
'''


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command to its success, in an environment with little in it, and return its output."""
    kept = {key: os.environ[key] for key in os.environ if key.startswith(("UV_", "PIP_", "SSL_"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **kept, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@pytest.fixture(scope="session")
def uv() -> Path:
    """What makes environments: make's, or that of the machine."""
    found = shutil.which("uv", path=f"{ROOT}/target/uv/bin:{os.environ['PATH']}")
    assert found is not None, "there is no uv; `make` sets it up"
    return Path(found)


@pytest.fixture(scope="session")
def wheel(uv: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as for a package index."""
    folder = tmp_path_factory.mktemp("dist")
    run(uv, "build", "--quiet", "--out-dir", folder, ROOT / "library", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def environment(uv: Path, folder: Path, python: str, *packages: str | Path) -> Path:
    """Return the folder of programs of a clean environment with these packages."""
    # pyenv shows of its Pythons those that the environment names.
    named = {**os.environ, "PYENV_VERSION": python}
    find = [str(uv), "python", "find", python]
    found = subprocess.run(find, capture_output=True, text=True, cwd=folder, env=named)
    if found.returncode != 0:
        pytest.skip(f"there is no Python {python}")
    run(uv, "venv", "--quiet", "--python", found.stdout.strip(), "venv", cwd=folder)
    run(uv, "pip", "install", "--quiet", *packages, cwd=folder, VIRTUAL_ENV=str(folder / "venv"))
    return folder / "venv/bin"


def test_the_wheel_holds_the_module_and_says_that_it_is_typed(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {
        "microcluster_token_consumer/__init__.py",
        "microcluster_token_consumer/py.typed",
    }


@pytest.mark.parametrize(("python", "ops"), PAIRS)
def test_the_librarys_tests_pass_with_the_wheel(
    uv: Path, wheel: Path, tmp_path: Path, python: str, ops: str
) -> None:
    bin = environment(uv, tmp_path, python, wheel, ops, "pytest", "hypothesis")
    place = "import microcluster_token_consumer as it; print(it.__file__)"
    assert str(tmp_path) in run(bin / "python", "-c", place, cwd=tmp_path)
    tests = ROOT / "tests/library"
    suites = ["test_vectors.py", "test_charm.py", "test_command.py"]
    run(
        bin / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tests,
        "-c", os.devnull, "--import-mode=importlib", *(tests / suite for suite in suites),
        cwd=tmp_path, PYTHONPATH=str(tests),
    )  # fmt: skip


def test_a_charm_that_uses_it_passes_two_strict_type_checkers(
    uv: Path, wheel: Path, tmp_path: Path
) -> None:
    bin = environment(uv, tmp_path, "3.12", wheel, "mypy", "pyright[nodejs]")
    (tmp_path / "charm.py").write_text(CHARM)
    run(bin / "mypy", "--strict", "charm.py", cwd=tmp_path)
    (tmp_path / "pyrightconfig.json").write_text('{"include": ["charm.py"], "strict": ["**"]}')
    run(bin / "pyright", "--pythonpath", bin / "python", cwd=tmp_path)


def test_a_mistake_is_found_by_both(uv: Path, wheel: Path, tmp_path: Path) -> None:
    bin = environment(uv, tmp_path, "3.12", wheel, "mypy", "pyright[nodejs]")
    wrong = CHARM.replace('leave_on_remove="force"', 'leave_on_remove="maybe"')
    (tmp_path / "charm.py").write_text(wrong)
    for checker in (["mypy", "--strict"], ["pyright", "--pythonpath", str(bin / "python")]):
        program, *options = checker
        command = [str(bin / program), *options, "charm.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1
        assert "leave_on_remove" in done.stdout
