"""What the project claims, measured: one module for each topic of mm_eval.

A topic's module has

- `open_models(options)`: the networks by name, the generator as "gen";
- `outputs(options)`: the files that it writes beside the tables and the report;
- `evaluate(models, run, options, progress)`: an `mm_jax.evaluation.results.Result`.

Its settings are a class of `mm_jax.evaluation.options`, where `TOPICS` names all of them.
"""
