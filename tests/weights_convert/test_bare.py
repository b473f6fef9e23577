"""Latents told from directions by the generator that they belong to."""

import dataclasses

import numpy as np
import pytest

from mm_jax.errors import DataError
from mm_jax.latents import sample_latents
from weights_convert.bare import told
from weights_convert.plan import Request


@pytest.fixture(scope="module")
def request_of(random_generator):
    """A generator whose mean latent is well away from 0, and a name that says nothing."""
    gen = random_generator
    mapping = {**gen.params["mapping"]}
    w = np.asarray(sample_latents(gen, seeds=range(64)))[:, 0]
    mapping["w_avg"] = w.mean(axis=0)
    gen = dataclasses.replace(gen, params={**gen.params, "mapping": mapping})
    return Request(name="thing", generator=gen, rows=gen.config.num_ws)


def test_latents_lie_about_the_mean(request_of):
    ws = np.asarray(sample_latents(request_of.generator, seeds=range(5), truncation_psi=0.7))
    found = told(ws, request_of)
    assert found is not None and found.layout == "codes"
    assert "taken for 5 latents" in found.notes[-1]
    assert told(ws[:1].reshape(1, -1), request_of).layout == "codes"


def test_directions_do_not(request_of):
    mean = np.asarray(request_of.generator.params["mapping"]["w_avg"])
    row = np.random.RandomState(0).standard_normal(12).astype(np.float32)
    row -= mean * (row @ mean) / (mean @ mean)
    found = told(np.tile(row, (1, 6, 1)), request_of)
    assert found is not None and found.layout == "direction"


def test_rows_of_another_width_are_refused(request_of):
    with pytest.raises(DataError, match="has rows of 512, those of"):
        told(np.ones((1, 18, 512), np.float32), request_of)
