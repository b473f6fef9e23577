"""Open the studio: drag a slider in the browser and see the face move.

Serves a page to this computer alone, until it is interrupted (Ctrl-C). Nothing is stored unless it
is asked for. With --host=0.0.0.0 others in the network can open it too, with the token in the
address that is printed.

Examples:
  mm_studio
  mm_studio --subspace=runs/smile/subspace.npz --subspace=runs/beard/subspace.npz
  mm_studio --generator=models/ffhq --encoder=models/e4e --clip=openai/clip-vit-base-patch32
  mm_studio --session=studio.json --port=9000
"""

from __future__ import annotations

from etils import epy

from mm_jax import allocator, cli, compile_cache, runs
from mm_jax.errors import UsageError
from mm_jax.studio.options import StudioOptions

with epy.lazy_imports():
    from mm_jax.studio import app


def work(call: cli.Call) -> None:
    """Serve the page until the program is interrupted."""
    options = call.read(StudioOptions)
    if not options.compile_cache:
        raise UsageError("--compile_cache is empty: give a folder, auto or off")
    if options.outdir:
        runs.check_writable(options.outdir)
    compile_cache.keep_programs(options.compile_cache)
    allocator.keep_freed_memory()
    with compile_cache.timed():  # so that the time left of jobs leaves compiling out
        app.serve(options, fixed_port=call.is_given("port"))


OPTIONS = (StudioOptions,)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
