"""A charm with the library, and a cluster command that a test controls."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, ClassVar

import ops
from ops import testing

import microcluster_token_consumer as library

HOSTNAME = "h1"
TOKEN = "eyJzZWNyZXQiOiI3NTZmMWEzYjVlOGQ0YzIxMDlmN2U2ZDViNGEzYzJkMSJ9"
META: dict[str, Any] = {
    "name": "microovn",
    "requires": {"cluster": {"interface": "worker-cluster", "limit": 1}},
}


def member(name: str, role: str = "voter", status: str = "ONLINE") -> dict[str, Any]:
    """Return an entry of `cluster list`, with more keys than are of interest."""
    return {"name": name, "role": role, "status": status, "address": "10.0.0.1:6443"}


class StandIn:
    """A cluster command on PATH; its subcommands fail until a test says what they do."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "stand-in"
        self.path.write_text(
            "#!/bin/sh\n"
            f"cd {shlex.quote(str(folder))}\n"
            "printf '%s\\n' \"$*\" >> calls\n"
            'if [ -e "on-$1" ]; then . "./on-$1"; else echo refused >&2; exit 1; fi\n'
        )
        self.path.chmod(0o755)

    def on(self, deed: str, script: str) -> StandIn:
        """Say in shell what `deed` does."""
        (self.folder / f"on-{deed}").write_text(script + "\n")
        return self

    def prints(self, deed: str, text: str) -> StandIn:
        """Make `deed` print this and succeed."""
        (self.folder / f"{deed}.txt").write_text(text)
        return self.on(deed, f"cat {deed}.txt")

    def lists(self, *members: dict[str, Any]) -> StandIn:
        """Make `list` print these members."""
        return self.prints("list", json.dumps(members))

    def lists_after(self, deed: str, *members: dict[str, Any]) -> StandIn:
        """Make `list` fail until `deed` has been run, whatever came of that."""
        self.prints("list", json.dumps(members))
        return self.on("list", f"grep -q '^{deed}' calls || exit 1; cat list.txt")

    @property
    def calls(self) -> list[str]:
        """The arguments of all runs so far."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def deeds(self) -> list[str]:
        """The runs so far that are not lists."""
        return [call for call in self.calls if not call.startswith("list")]


class Charm(ops.CharmBase):
    """Notes the events that the library emits."""

    heard: ClassVar[list[str]] = []
    trouble: ClassVar[str | None] = None
    """The event in which this charm fails."""
    limit: ClassVar[float] = 60
    """Seconds that a command may take; more than it does on the busiest machine."""

    def __init__(self, framework: ops.Framework, **options: Any):
        super().__init__(framework)
        command = library.ClusterCommand(("stand-in",), short_limit=self.limit)
        self.cluster = library.TokenConsumer(self, "cluster", command, hostname=HOSTNAME, **options)
        self.cluster.join_args_func = lambda: ["--join", "1"]
        if "bootstrap_args_func" not in options:
            self.cluster.bootstrap_args_func = lambda: ["--found"]
        for event in self.cluster.on.events().values():
            framework.observe(event, self._on_cluster)

    def _on_cluster(self, event: ops.EventBase) -> None:
        detail = ""
        if isinstance(event, library.ClusterJoinedEvent):
            detail = f" {event.bootstrapper}"
        if isinstance(event, library.TokenRefusedEvent):
            detail = f" {event.fingerprint}"
        within = "inside" if self.cluster.in_cluster else "outside"
        self.heard.append(f"{event.handle.kind}{detail}, {within}")
        if self.trouble == event.handle.kind:
            raise RuntimeError(self.trouble)


def relation(
    own: dict[str, str] | None = None,
    units: dict[int, dict[str, str]] | None = None,
    app: dict[str, str] | None = None,
) -> testing.Relation:
    """Return the relation with the distributor; older versions of ops write into what they get."""
    return testing.Relation(
        "cluster",
        remote_app_name="p",
        local_unit_data=dict(own or {}),
        remote_units_data={number: dict(bag) for number, bag in (units or {}).items()},
        remote_app_data=dict(app or {}),
    )


def noted(**content: Any) -> testing.StoredState:
    """Return what the library remembers."""
    before: dict[str, Any] = {
        "in_cluster": False,
        "half_in": False,
        "tries": {},
        "refusal": [],
        "said": [],
    }
    owner = "Charm/TokenConsumer[cluster]"
    return testing.StoredState(name="_stored", owner_path=owner, content=before | content)
