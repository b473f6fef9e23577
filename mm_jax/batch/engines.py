"""Who does a run's items: this process by itself, or workers of a Ray cluster.

Either enters them into the same ledger, by the same names and from the same code, so that a run
that one engine has begun the other can go on with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from mm_jax.batch import compat as cli
from mm_jax.batch import flags
from mm_jax.batch.dealer import Dealer
from mm_jax.batch.ledger import Ledger
from mm_jax.batch.manifest import Item
from mm_jax.batch.pipeline import Kind
from mm_jax.batch.runner import Runner, threads
from mm_jax.batch.settings import BatchSettings
from mm_jax.batch.store import Store

__all__ = ["Work", "by_ray", "here"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """A run but for its items.

    Attributes:
        flags: of mm_batch.
        settings: from them.
        kind: what is done with items.
        pictures: whether there are pictures among them.
        facts: what the results depend on beside the flags.
        folder: where items go unless the flags say otherwise.
        scratch: where files are written before they are put in place.
        store: where they are.
        ledger: where items are entered.
        stop: whether to come to an end.
    """

    flags: cli.Flags
    settings: BatchSettings
    kind: Kind
    pictures: bool
    facts: dict[str, Any]
    folder: Path
    scratch: Path
    store: Store
    ledger: Ledger
    stop: Callable[[], bool]


def here(work: Work, items: Iterable[Item]) -> bool:
    """Do items in this process; whether `stop` ended it.

    Raises:
        DataError: the store or a journal cannot be written.
    """
    with threads(work.settings.readers, work.settings.writers) as own:
        runner = Runner(
            kind=work.kind,
            store=work.store,
            enter=work.ledger.enter,
            threads=own,
            retries=work.settings.retries,
            stop=work.stop,
        )
        return runner.run(items)


def by_ray(ray: Any, work: Work, items: Iterable[Item]) -> bool:
    """Have items done by actors; whether `stop` ended it.

    Args:
        ray: the module, connected.
        work, items: as above.

    Raises:
        DataError, UsageError: as `Dealer.run` and `RayPool.wait`.
    """
    from mm_jax.batch.ray_pool import RayPool
    from mm_jax.batch.worker import Opening

    opening = Opening(
        flags=flags.plain(work.flags),
        compile_cache=work.flags.compile_cache,
        cwd=Path.cwd(),
        items=work.folder.absolute(),
        scratch=work.scratch.absolute(),
        pictures=work.pictures,
        facts=work.facts,
    )
    pool = RayPool(ray, opening, work.flags.ray_workers)
    dealer = Dealer(pool, work.ledger, work.store, retries=work.settings.retries, stop=work.stop)
    return dealer.run(items, work.kind)
