"""Figures of the models, on images of which everything is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax.anchors.prompts import MOTIONS
from mm_jax.encoders.encoder import make_encoder
from mm_jax.encoders.small import SmallConfig, init_small
from mm_jax.evaluation.reading import read_images
from mm_jax.faces.readings import Readings
from mm_jax.latents import sample_latents, synthesize
from mm_jax.people import measures
from mm_jax.people.attributes import MOTION_FACTOR
from mm_jax.people.factors import NUM_FACTORS, index
from mm_jax.people.walks import make_walks


def test_fidelity_sees_the_inner_face_apart():
    true = np.full((2, 32, 32, 3), 100, np.uint8)
    assert measures.fidelity(true, true) == (60, 60)
    off = true.copy()
    off[:, :2, :2] += 51  # a corner of 4 pixels, by a fifth
    whole, inner = measures.fidelity(off, true)
    assert inner == 60
    assert whole == pytest.approx(-10 * np.log10(0.2**2 * 4 / 32**2), abs=0.01)


def _drawn(gen, renders):
    """Renders that look as the generator draws their z."""
    images = np.asarray(synthesize(gen, sample_latents(gen, z=renders.z)))
    pixels = np.clip(np.round((images + 1) * 127.5), 0, 255)
    return renders._replace(images=pixels.astype(np.uint8))


def _made(gen, renders):
    return measures.images_of(gen, renders.z)


def test_a_generator_is_compared_with_the_renders_of_the_same_z(
    tiny_people, tiny_probe, make_random_renders
):
    unseen = _drawn(tiny_people, make_random_renders(40))
    unseen = unseen._replace(factors=read_images(tiny_probe, unseen.images))
    read, psnr = measures.measure_generator(_made(tiny_people, unseen), tiny_probe, unseen)
    assert read.shape == (NUM_FACTORS,) and read.min() > 0.99 and psnr.whole > 50
    other = unseen._replace(z=np.roll(unseen.z, 1, axis=0))
    read, psnr = measures.measure_generator(_made(tiny_people, other), tiny_probe, other)
    assert read.max() < 0.9 and psnr.whole < 40


def test_strangers_are_believed_where_they_found_a_face(make_random_renders):
    unseen = make_random_renders(40)
    seen = np.arange(40) % 4 > 0
    column = {name: unseen.factors[:, index(name)] for name in ("smile", "anger", "age", "yaw")}
    gender = unseen.factors[:, index("gender")]

    def reader(images):
        assert images.shape == (40, 16, 16, 3)
        values = {
            "happy": np.tanh(column["smile"]),
            "angry": -column["anger"],
            "age": 40 + 30 * column["age"],
            "yaw": 50 * column["yaw"] ** 3,
            "male": np.where(np.arange(40) % 4 == 1, gender < 0, gender > 0).astype(float),
        }
        hidden = {name: np.where(seen, value, np.nan) for name, value in values.items()}
        return Readings(hidden, np.zeros((40, 128), np.float32), seen)

    figures = measures.measure_strangers(unseen.images, unseen.factors, reader)
    assert figures == {
        "found": 0.75, "happy": 1.0, "angry": -1.0, "age": 1.0, "yaw": 1.0, "gender": 0.667
    }  # fmt: skip


def _sees(monkeypatch, read, wrong=0.0):
    """Let CLIP see in an image what ``read`` reads of its factors: prompts are points of a line."""
    rng = np.random.default_rng(0)
    target = {name: index(MOTION_FACTOR[name]) for name in MOTIONS}

    def similar(clip, seen, motion):
        value = seen[:, target[motion]] + wrong * rng.standard_normal(len(seen))
        return value, -value

    monkeypatch.setattr(measures, "unit_vectors", lambda clip, images: read(images))
    monkeypatch.setattr(measures, "_similar", similar)
    monkeypatch.setattr(measures, "read_images", lambda probe, images: -read(images))


def test_orders_of_people_and_of_one_person(coded, make_random_renders, tmp_path, monkeypatch):
    draw, read = coded
    walks = make_walks(tmp_path, draw, people=6, degrees=5)
    unseen = make_random_renders(40)
    unseen = unseen._replace(images=draw(unseen.factors))
    _sees(monkeypatch, read)
    for row in measures.measure_motions(None, None, unseen).values():
        assert row["degree"] > 0.99 and row["full"] < -0.99 and row["judge"] < -0.99
    assert measures.measure_walks(None, walks) == dict.fromkeys(MOTIONS, 1.0)
    _sees(monkeypatch, read, wrong=100.0)
    found = [row["degree"] for row in measures.measure_motions(None, None, unseen).values()]
    found += measures.measure_walks(None, walks).values()
    assert np.abs(np.mean(found)) < 0.4 and max(found) < 0.95


def test_turning_right_begins_where_a_face_is_seen_from_the_front(coded, tmp_path, monkeypatch):
    draw, read = coded
    walks = make_walks(tmp_path, draw, people=3, degrees=5)
    # Who reads only how far a face is turned aside, not to which side.
    _sees(monkeypatch, lambda images: np.abs(read(images)))
    found = measures.measure_walks(None, walks)
    assert found["head_turn"] == 1.0 and found["smile"] < 0.9


def test_an_encoder_is_measured_on_both_kinds(tiny_people, tiny_trunk, make_random_renders):
    config = SmallConfig(trunk=tiny_trunk, rows=6, width=64)
    params = init_small(config, jax.random.key(0))
    # An encoder that always says the mean code.
    params = jax.tree.map(jnp.zeros_like, params)
    params["w_avg"] = tiny_people.params["mapping"]["w_avg"]
    encoder = make_encoder(config, params)
    unseen = make_random_renders(20)
    mean = np.asarray(synthesize(tiny_people, jnp.tile(params["w_avg"], (20, 6, 1))))
    pixels = np.clip(np.round((mean + 1) * 127.5), 0, 255).astype(np.uint8)
    figures = measures.measure_encoder(tiny_people, encoder, unseen, count=20)
    assert figures["renders"] == measures.fidelity(pixels, unseen.images)
    assert figures["generated"].whole > figures["renders"].whole


def test_a_perfect_renderer_and_judge_leak_nothing(
    coded, tiny_probe, make_random_renders, tmp_path, monkeypatch
):
    draw, read = coded
    monkeypatch.setattr(measures, "read_images", lambda probe, images, **_: read(images))
    walks = make_walks(tmp_path, draw, people=4, degrees=5)
    unseen = make_random_renders(40)
    floor = measures.measure_floor(tiny_probe, walks, unseen)
    assert list(floor) == list(MOTIONS)
    for truth in floor.values():
        assert (truth.spearman, truth.right_way, truth.n) == (1, 1, 4)
        assert truth.leakage_max < 0.01

    def sees_the_smile_in_the_jaw(probe, images, **_):
        factors = read(images)
        factors[:, index("jaw")] += 0.5 * factors[:, index("smile")]
        return factors

    monkeypatch.setattr(measures, "read_images", sees_the_smile_in_the_jaw)
    floor = measures.measure_floor(tiny_probe, walks, unseen)
    scale = unseen.factors.std(axis=0)
    leak = 0.5 * scale[index("smile")] / scale[index("jaw")]
    assert floor["smile"].per_factor[index("jaw")] == pytest.approx(leak, rel=0.02)
    assert floor["anger"].leakage_max < 0.01


def test_a_probe_is_read_in_batches_of_any_number(tiny_probe, make_random_renders):
    images = make_random_renders(7).images
    np.testing.assert_allclose(
        read_images(tiny_probe, images, batch=3), read_images(tiny_probe, images), atol=1e-5
    )
