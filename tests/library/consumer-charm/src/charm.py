"""A charm that is a consumer, and nothing else."""

from __future__ import annotations

import subprocess

import ops

from charms.microcluster_token_distributor.v1.token_distributor import TokenConsumer


class ConsumerCharm(ops.CharmBase):
    """Has a machine of the emulated model, whose name is not the kernel's."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster = TokenConsumer(
            charm=self,
            relation_name="cluster",
            command_name=("microovn", "cluster"),
            hostname=subprocess.check_output(["hostname"], text=True).strip(),
            ready=self._ready,
            leave_on_remove="force" if self.config["force"] else True,
        )
        framework.observe(self.on.collect_unit_status, self._on_collect_unit_status)

    def _ready(self) -> str | None:
        return "held by the option hold" if self.config["hold"] else None

    def _on_collect_unit_status(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(self.cluster.status)


if __name__ == "__main__":
    ops.main(ConsumerCharm)
