"""The trainings: losses that measure what they say, batches, loops that resume."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mm_jax import progress
from mm_jax.people import train_generator
from mm_jax.people.factors import factors_from_z, index
from mm_jax.people.renders import RenderSet
from mm_jax.people.train_generator import PHASES, Phase, Pool
from mm_jax.people.training import Loop, linear_decay, muon, run_loop


def _loop(outdir, steps, *, stop=None):
    def step(carry, index):
        if index == stop:
            raise KeyboardInterrupt
        return {"sum": carry["sum"] + index}, {"loss": jnp.asarray(1.0 * index)}

    start = lambda: {"sum": jnp.zeros((), jnp.int32)}  # noqa: E731
    return Loop("count", outdir, steps, start, step, log_every=2, save_every=4)


def test_a_loop_that_was_stopped_gives_what_an_unbroken_one_gives(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_loop(_loop(tmp_path, 10, stop=7))
    assert int(run_loop(_loop(tmp_path, 10))["sum"]) == 45
    assert int(run_loop(_loop(tmp_path, 10))["sum"]) == 45
    lines = [json.loads(line) for line in (tmp_path / "count.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 6, 8, 10]


def test_what_is_left_leaves_out_steps_that_compile(tmp_path, monkeypatch, capsys):
    now, programs = 0.0, 0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setattr(progress.compile_cache, "programs", lambda: programs)
    loop = _loop(tmp_path, 6)

    def step(carry, index):
        nonlocal now, programs
        compiles = index in (0, 2)
        now, programs = now + (100.0 if compiles else 4.0), programs + compiles
        return loop.step(carry, index)

    run_loop(dataclasses.replace(loop, step=step))
    ends = [line.partition("loss ")[2][6:] for line in capsys.readouterr().out.splitlines()]
    assert ends == [
        "  0.25 steps/s  ETA 0:16",
        "  0.25 steps/s  ETA 0:08",
        "  0.25 steps/s  ETA 0:00",
    ]


def _quadratic(params):
    wanted = {"a": {"kernel": np.eye(6, 4), "bias": np.ones(4)}, "still": {"kernel": np.ones(3)}}
    return sum(
        jnp.sum(jnp.square(x - jnp.asarray(y, jnp.float32)))
        for x, y in zip(jax.tree.leaves(params), jax.tree.leaves(wanted), strict=True)
    )


def test_muon_moves_kernels_as_matrices_and_holds_what_is_frozen():
    params = {
        "a": {"kernel": jax.random.normal(jax.random.key(0), (6, 4)), "bias": jnp.zeros(4)},
        "still": {"kernel": jnp.zeros(3)},
    }
    tx = muon(0.01, kernel_rate=2.0, frozen=lambda path: path[0] == "still")
    grads = jax.grad(_quadratic)(params)
    step, _ = jax.jit(tx.update)(grads, tx.init(params), params)
    kernel = np.asarray(step["a"]["kernel"])
    np.testing.assert_allclose(np.sqrt(np.mean(kernel**2)), 0.02, rtol=0.15)
    values = np.linalg.svd(kernel, compute_uv=False)
    assert values.max() < 2 * values.min()  # all directions of a matrix move about as far
    assert float(jnp.sum(kernel * grads["a"]["kernel"])) < 0
    np.testing.assert_allclose(step["a"]["bias"], 0.01, rtol=1e-4)
    assert not step["still"]["kernel"].any()


def test_slow_parameters_take_a_tenth_of_adams_step():
    params = {"mapping": {"kernel": jnp.ones((3, 2))}, "other": {"bias": jnp.ones(2)}}
    tx = muon(0.01, kernel_rate=2.0, slow=lambda path: path[0] == "mapping")
    step, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    np.testing.assert_allclose(step["mapping"]["kernel"], -0.001, rtol=1e-4)
    np.testing.assert_allclose(step["other"]["bias"], -0.01, rtol=1e-4)


def test_learning_rates_rise_then_fall_to_zero():
    rates = np.asarray(jax.vmap(linear_decay(1e-3, 100, warmup=10))(jnp.arange(101)))
    assert rates[0] == 0 and rates[-1] == 0 and rates.argmax() == 10
    np.testing.assert_allclose(rates[10], 1e-3, rtol=1e-5)
    np.testing.assert_allclose(np.diff(rates, n=2)[10:], 0, atol=1e-8)


def test_phases_join():
    ends = np.cumsum([phase.steps for phase in PHASES])
    steps = np.unique(np.linspace(0, ends[-1] - 1, 2000).astype(int))
    rates = np.asarray(jax.vmap(lambda s: train_generator.learning_rate(PHASES, s))(steps))
    assert (rates > 0).all()
    for phase, end in zip(PHASES, ends, strict=True):
        within = (steps >= end - phase.steps + 60) & (steps < end - phase.steps * (1 - phase.hold))
        np.testing.assert_allclose(rates[within], phase.learning_rate[0], rtol=1e-5)
        assert train_generator.phase_at(PHASES, int(end) - 1)[0] is phase
        last = float(train_generator.learning_rate(PHASES, int(end) - 1))
        np.testing.assert_allclose(last, phase.learning_rate[1], atol=2e-2 * phase.learning_rate[0])
    assert train_generator.phase_at(PHASES, 0) == (PHASES[0], 0.0)
    assert train_generator.phase_at(PHASES, int(ends[-1])) == (PHASES[-1], 1.0)


# --- losses ---------------------------------------------------------------------------------------


def test_the_pyramid_loss_weighs_every_scale():
    ones = jnp.ones((1, 16, 16, 1))
    least = float(train_generator.pyramid_loss(jnp.zeros((1, 16, 16, 3)), ones))
    np.testing.assert_allclose(least, 5 * 0.01, rtol=1e-5)  # two terms at 16 and 8 pixels, one at 4
    flat = jnp.full((1, 16, 16, 3), 0.3)
    level = np.hypot(0.3, 0.01)
    np.testing.assert_allclose(
        train_generator.pyramid_loss(flat, ones), 3 * level + 2 * 0.01, rtol=1e-5
    )
    checks = 0.3 * (-1.0) ** jnp.indices((16, 16)).sum(axis=0)
    fine = jnp.broadcast_to(checks[None, :, :, None], (1, 16, 16, 3))
    np.testing.assert_allclose(
        train_generator.pyramid_loss(fine, ones), 2 * level + 3 * 0.01, rtol=1e-5
    )
    np.testing.assert_allclose(
        train_generator.pyramid_loss(fine, 2 * ones), 4 * level + 5 * 0.01, rtol=1e-5
    )


def test_weights_are_larger_where_people_look():
    focus = jnp.zeros((1, 64, 64)).at[0, 20:30, 10:20].set(1)
    for resolution in (32, 64, 128):
        weight = np.asarray(train_generator.face_weight(focus, resolution))[0, :, :, 0]
        assert weight.shape == (resolution, resolution)
        assert 0.7 < weight.mean() < 1.3
        k = resolution // 64 if resolution >= 64 else 0.5
        inside = weight[int(22 * k) : int(28 * k), int(12 * k) : int(18 * k)].mean()
        mirrored = weight[int(22 * k) : int(28 * k), int(46 * k) : int(52 * k)].mean()
        np.testing.assert_allclose(inside - mirrored, 3 / 1.4, rtol=1e-4)
        assert weight[resolution // 2, resolution // 2] > 3 * weight[0, 0]


def test_the_error_along_a_tangent_is_in_units_of_the_tangent():
    tangent = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    noise = jax.random.normal(jax.random.key(1), tangent.shape)
    energy = jnp.sum(tangent**2, axis=(1, 2, 3), keepdims=True)
    noise -= tangent * jnp.sum(noise * tangent, axis=(1, 2, 3), keepdims=True) / energy
    error = train_generator.tangent_error(0.3 * tangent + noise, tangent)
    np.testing.assert_allclose(error, 0.3, rtol=1e-2)


def test_the_inner_face():
    mask = np.asarray(train_generator.inner_mask(128))[0, :, :, 0]
    np.testing.assert_allclose(mask.mean(), np.pi * 0.42 * 0.48 / 4, rtol=0.02)
    np.testing.assert_array_equal(mask, mask[:, ::-1])
    assert mask[70, 64] == 1 and mask[0].max() == 0


def test_halving_and_doubling():
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    np.testing.assert_allclose(train_generator.halve(train_generator.double(x)), x, rtol=1e-6)
    np.testing.assert_allclose(train_generator.halve(x).mean(), x.mean(), atol=1e-6)


# --- batches --------------------------------------------------------------------------------------


read_factors = jax.jit(factors_from_z)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder of 500 singles and 250 pairs whose images say which they are, and the sets."""
    folder = tmp_path_factory.mktemp("renders")
    rng = np.random.default_rng(0)
    sets = [RenderSet("single", 1, 500), RenderSet("pair", 2, 500, pairs=True)]
    for which in sets:
        z = rng.normal(size=(500, 128)).astype(np.float32)
        if which.pairs:
            z[250:] = z[:250] + 0.01
        row = np.arange(500) % 250
        images = np.zeros((500, 8, 8, 3), np.uint8)
        images[..., 0] = 100 * which.pairs + 50 * (np.arange(500) >= 250)[:, None, None]
        images[..., 1] = row[:, None, None]
        images[:, :, :4, 2] = 255  # the left half
        focus = np.zeros((500, 64, 64), np.uint8)
        focus[:, :, :32] = 255
        np.savez(
            folder / f"{which.name}-{which.seed}-000.npz",
            images=images,
            focus=focus,
            z=z,
            psi=rng.uniform(size=500).astype(np.float32),
            factors=np.asarray(read_factors(z)),
        )
    return folder, sets


@pytest.fixture(scope="module")
def pool(store):
    folder, sets = store
    return Pool(folder, sets[:1], sets[1:])


def test_batches_hold_singles_then_firsts_then_seconds(pool):
    phase = Phase(8, 10, singles=5, pairs=4, learning_rate=(1e-3, 0.0))
    batch = pool.batch(np.random.default_rng(1), phase, limit=1.0)
    assert batch["images"].shape == (13, 8, 8, 3) and batch["z"].shape == (13, 128)
    kind = batch["images"][:, 0, 0, 0]
    assert (kind[:5] < 100).all() and (kind[5:9] == 100).all() and (kind[9:] == 150).all()
    row = batch["images"][:, 0, 0, 1]
    np.testing.assert_array_equal(row[5:9], row[9:])
    np.testing.assert_allclose(batch["z"][9:], batch["z"][5:9] + 0.01, atol=1e-6)
    # Both of a pair are mirrored or neither, with what belongs to them.
    np.testing.assert_array_equal(batch["flip"][5:9], batch["flip"][9:])
    left = batch["images"][:, 0, 0, 2] == 255
    np.testing.assert_array_equal(left, ~batch["flip"])
    np.testing.assert_array_equal(batch["focus"][:, 0, 0] == 255, ~batch["flip"])
    assert 0 < batch["flip"].sum() < 13


def test_drawings_need_no_pairs(pool, store):
    folder, sets = store
    alone = Pool(folder, sets[:1], [])
    phase = Phase(8, 10, singles=6, pairs=0, learning_rate=(1e-3, 0.0))
    ours, theirs = (p.batch(np.random.default_rng(4), phase, 1.0) for p in (alone, pool))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_the_pose_is_limited(pool):
    phase = Phase(4, 10, singles=40, pairs=10, learning_rate=(1e-3, 0.0))
    batch = pool.batch(np.random.default_rng(2), phase, limit=0.5)
    assert batch["images"].shape == (60, 4, 4, 3)  # halved
    pose = [index(name) for name in ("yaw", "pitch", "roll")]
    assert np.abs(np.asarray(read_factors(batch["z"]))[:, pose]).max() <= 0.5


def test_pictures_get_smaller_by_means(pool):
    small = pool.singles[0].at(2)
    np.testing.assert_array_equal(small[:, 0, 0], pool.singles[0].at(8)[:, 0, 0])
    assert (small[:, :, 1, 2] == 0).all() and pool.singles[0].at(2) is small
