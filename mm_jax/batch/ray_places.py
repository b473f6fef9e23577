"""Which workers a Ray cluster has room for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Place", "places"]


@dataclasses.dataclass(frozen=True)
class Place:
    """What a worker takes of its node.

    Attributes:
        cpus: for a worker without an accelerator, its cores; they are no more than a claim.
        gpus, tpus: accelerators.
    """

    cpus: float = 0
    gpus: int = 0
    tpus: int = 0

    def options(self) -> dict[str, Any]:
        """As Ray's actors want it."""
        resources = {"TPU": self.tpus} if self.tpus else None
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": resources}

    def __str__(self) -> str:
        kinds = {"CPU": self.cpus, "GPU": self.gpus, "TPU": self.tpus}
        return " and ".join(f"{count:g} {kind}" for kind, count in kinds.items() if count)


def places(nodes: Iterable[Mapping[str, Any]], workers: int | None = None) -> list[Place]:
    """One worker for each accelerator of a cluster; without any, one for each node.

    Args:
        nodes: as `ray.nodes()` gives them.
        workers: how many there are in all, in place of that. More of them than there are
            accelerators wait for nodes to join; without accelerators they divide the cores.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus, tpus = (sum(int(node.get(kind, 0)) for node in alive) for kind in ("GPU", "TPU"))
    own = [Place(gpus=1)] * gpus + [Place(tpus=1)] * tpus
    if workers is None:
        return own or [Place(cpus=node["CPU"]) for node in alive if node.get("CPU")]
    if own:
        return (own + own[:1] * workers)[:workers]
    each = sum(node.get("CPU", 0) for node in alive) / workers
    # Ray knows parts of one core, but not of several.
    return [Place(cpus=each if each < 1 else int(each))] * workers
