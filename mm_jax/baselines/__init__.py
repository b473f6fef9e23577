"""Other people's ways to a direction, and ours, behind one signature, to be compared.

A method is a function of two arguments,

    find(world: World, motion: Motion) -> Direction

where the `world` (`mm_jax.baselines.world`) holds the generator, CLIP, a random key and the
options, and, for the methods that say so, a probe of known factors or a video. A `Direction` lies
in W+ or in S. `mm_jax.baselines.methods` lists the methods with what each of them looks at;
`mm_jax.evaluation.compared` measures them.

Shapes: n sampled faces, F factors, L rows of W+, D latent width, E CLIP's width, C channels.
"""
