"""Options of the studio."""

from __future__ import annotations

import dataclasses
import ipaddress

from mm_jax.errors import UsageError
from mm_jax.options import Options, option
from mm_jax.sources import GeneratorOptions, precision_option

__all__ = ["StudioOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudioOptions(Options):
    """What the studio works with, and who may open it.

    Raises:
        UsageError: a host that is no address.
    """

    generator: list[str] = option(
        [GeneratorOptions().generator],
        "Generator: a bundled name, or a folder; repeat to choose between several in the page.",
    )
    precision: str = precision_option()
    subspace: list[str] = option(
        [], "Subspace (.npz) that gets a slider, beside the bundled ones; repeatable."
    )
    encoder: str = option(
        "auto", "Encoder of the first generator, for photos: name, folder, none, or auto."
    )
    clip: str = option(
        "auto", "CLIP of the first generator, to learn from prompts: name, folder, hub id, or auto."
    )
    session: str = option("", "Session (.json) to begin with, as the page saves it.")
    host: str = option(
        "127.0.0.1",
        "Address to listen on. Any but this computer's own asks visitors for a token.",
    )
    port: int = option(8420, "Port; if it is taken, the next free one.", minimum=1, maximum=65535)
    open: bool = option(True, "Open the page in the browser of this computer.")
    outdir: str = option("", "Folder that also gets what is exported; by default none.")
    compile_cache: str = option(
        "auto",
        "Folder for compiled programs; 'auto' is one in the user's cache folder, 'off' keeps none.",
    )

    def check(self) -> None:
        """Refuse a host that is no address, and a studio without a generator."""
        if not self.generator:
            raise UsageError("--generator is missing")
        if self.host != "localhost":
            try:
                ipaddress.ip_address(self.host)
            except ValueError as error:
                raise UsageError(
                    f"host must be an address such as 127.0.0.1 or 0.0.0.0, got {self.host!r}"
                ) from error

    @property
    def is_local(self) -> bool:
        """Whether only this computer can reach the studio."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
