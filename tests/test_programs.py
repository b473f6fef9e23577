"""What is done on the way compiles few programs: they are most of the time of a first run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax import rendering, zoo
from mm_jax.anchors.reading import embed_latents
from mm_jax.artifacts import Anchors
from mm_jax.editing.affine import apply_edit
from mm_jax.faces.network import apply_network, load_face_network
from mm_jax.latents import draw_latents, fold_in_each
from mm_jax.subspace import extract_subspace
from tests.compiling import programs


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    """What other tests have compiled does not count."""
    jax.clear_caches()


def anchors() -> Anchors:
    random = np.random.default_rng(0)
    start, along = random.standard_normal((2, 5, 7)).astype(np.float32)
    degrees = np.linspace(0, 1, 4, dtype=np.float32)
    noise = 0.01 * random.standard_normal((4, 5, 7)).astype(np.float32)
    return Anchors(start + degrees[:, None, None] * along + noise, start, degrees)


def test_the_count_can_be_exceeded() -> None:
    with programs() as compiled:
        jnp.asarray(np.ones(3, np.float32)) + 1
    assert len(compiled) >= 2


def test_opening_a_network_compiles_nothing() -> None:
    with programs() as compiled:
        zoo.load_generator(zoo.GENERATOR)
    assert compiled == []


def test_a_subspace_takes_a_program_for_each_step() -> None:
    with programs() as compiled:
        extract_subspace(anchors())
    assert sorted(compiled) == [
        "jit(_orient)", "jit(effective_rank)", "jit(explained_variance)", "jit(svd_subspace)",
    ]  # fmt: skip


def test_an_edit_is_one_program() -> None:
    subspace = extract_subspace(anchors())
    ws = np.zeros((2, 5, 7), np.float32)
    with programs() as compiled:
        apply_edit(ws, [subspace, subspace], [-1.0, 0.5, 1.0], layers=[0, 2])
    assert compiled == ["jit(_moved)"]


def test_drawn_latents_are_two_programs(tiny_generator: Any) -> None:
    key = jax.random.key(3)
    with programs() as compiled:
        draw_latents(tiny_generator, key, 3)
    assert compiled == ["jit(_normals)", "jit(_sample)"]
    with programs() as compiled:
        draw_latents(tiny_generator, fold_in_each(key, range(4)))
    assert compiled == ["jit(_folded)", "jit(_normals)", "jit(_sample)"]


def test_images_that_are_read_and_shown_share_a_program(
    tiny_generator: Any, tiny_clip: Any, tmp_path: Path
) -> None:
    ws = np.zeros((12, tiny_generator.config.num_ws, tiny_generator.config.w_dim), np.float32)
    with programs() as compiled:
        embed_latents(tiny_generator, tiny_clip, ws)
        list(rendering.render_groups(tiny_generator, [ws[:5], ws[:7]]))
    assert compiled.count("jit(_synthesize)") == 1


def test_landmarks_and_expressions_share_their_trunk() -> None:
    networks = [load_face_network(f"faces/{name}") for name in ("landmarks", "expressions")]
    images = np.linspace(-1, 1, 112 * 112 * 3, dtype=np.float32).reshape(1, 112, 112, 3)
    with programs() as compiled:
        read = [network(images) for network in networks]
    assert sorted(compiled) == ["jit(_features)", "jit(_read_features)", "jit(_read_features)"]
    for network, own in zip(networks, read, strict=True):
        np.testing.assert_allclose(own, apply_network(network, jnp.asarray(images)), atol=1e-5)


def test_groups_have_the_images_that_they_have_alone(tiny_generator: Any) -> None:
    config = tiny_generator.config
    ws = np.random.default_rng(0).standard_normal((9, config.num_ws, config.w_dim))
    groups = [ws[:1], ws[1:6], ws[6:]]
    drawn = list(rendering.render_groups(tiny_generator, groups, batch=4))
    assert [len(images) for images in drawn] == [1, 5, 3]
    whole = rendering.render_all(tiny_generator, ws)
    np.testing.assert_allclose(np.concatenate(drawn), whole, atol=1e-5)
    assert list(rendering.render_groups(tiny_generator, [])) == []
