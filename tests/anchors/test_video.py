"""The motion of a clip is found in W+, whatever single frames look like."""

import numpy as np
import pytest

import mm_jax
from mm_jax.anchors.video import video_anchors
from mm_jax.artifacts import load_anchors, save_anchors
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import mean_latent, sample_latents, synthesize

T = 8
# One program for all tests: batches of 4, chunks of 10 steps.
QUICK = {"steps": 40, "together_steps": 10, "batch_size": 4, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def direction(tiny_generator):
    """A way from one sampled code to another, as [L, D]."""
    one, other = np.asarray(sample_latents(tiny_generator, seeds=[1, 2]))
    return other - one


@pytest.fixture(scope="module")
def codes(tiny_generator, direction):
    """[T, L, D] on a straight line through a face that is not the mean."""
    own = np.asarray(mean_latent(tiny_generator))[0] + 0.3 * direction
    return own + np.linspace(0, 0.8, T, dtype=np.float32)[:, None, None] * direction


@pytest.fixture(scope="module")
def frames(tiny_generator, codes):
    return np.clip(np.asarray(synthesize(tiny_generator, codes)), -1, 1)


@pytest.fixture(scope="module")
def anchors(tiny_generator, frames):
    return video_anchors(tiny_generator, frames, frame_indices=range(0, 5 * T, 5), **QUICK)


def cosine_of_pictures(gen, subspace, own, wanted):
    """How alike two directions are in what they change."""
    pictures = synthesize(gen, np.stack([own, own + subspace.direction, own + wanted]))
    found, true = np.asarray(pictures[1:] - pictures[:1])
    return (found * true).sum() / np.linalg.norm(found) / np.linalg.norm(true)


def test_the_direction_of_a_straight_motion(tiny_generator, anchors, codes, direction):
    assert anchors.ws.shape == (T, *codes.shape[1:])
    assert np.mean(anchors.meta["psnr"]) > 20 and not anchors.meta["dropped"]
    np.testing.assert_allclose(anchors.degrees, np.linspace(0, 1, T), atol=1e-6)
    np.testing.assert_allclose(anchors.start, anchors.ws[0], atol=1e-6)
    for method in ("rpca", "svd"):
        subspace = mm_jax.extract_subspace(anchors, method=method)
        likeness = cosine_of_pictures(tiny_generator, subspace, codes[0], 0.8 * direction)
        assert likeness > 0.95
    rpca = mm_jax.extract_subspace(anchors, method="rpca")
    assert rpca.meta["rpca"]["outliers"] == "rows"


def test_growing_degree_is_positive(tiny_generator, anchors):
    subspace = mm_jax.extract_subspace(anchors, method="svd")
    along = np.asarray(anchors.ws - anchors.start).reshape(T, -1) @ subspace.basis.ravel()
    assert np.corrcoef(along, anchors.degrees)[0, 1] > 0.9


def test_metadata_are_kept_in_files(anchors, tmp_path):
    save_anchors(tmp_path / "a.npz", anchors)
    meta = load_anchors(tmp_path / "a.npz").meta
    assert meta["source"] == "video" and meta["kept"] == list(range(0, 5 * T, 5))
    assert len(meta["psnr"]) == T and meta["generator"] == "tiny"
    assert len(meta["motion"]["progress"]) == T


def test_bad_frames_are_dropped_and_told(tiny_generator, frames):
    spoiled = frames.copy()
    spoiled[3] = np.sign(np.random.default_rng(0).standard_normal(frames.shape[1:]))
    spoiled[6] = spoiled[6].mean(axis=(0, 1))
    found = video_anchors(tiny_generator, spoiled, frame_indices=range(10, 10 + T), **QUICK)
    reasons = {d["frame"]: d["reason"] for d in found.meta["dropped"]}
    assert set(reasons) == {13, 16}
    assert reasons[13].startswith("loss") and reasons[16].startswith("blur")
    assert found.meta["kept"] == [10, 11, 12, 14, 15, 17]
    np.testing.assert_allclose(found.degrees, np.array([0, 1, 2, 4, 5, 7]) / 7, atol=1e-6)
    none = {**QUICK, "steps": 0, "together_steps": 0}
    everything = video_anchors(tiny_generator, spoiled, drop=False, **none)
    assert len(everything.ws) == T and not everything.meta["dropped"]


def test_smoothness_over_time(tiny_generator, frames):
    def roughness(weight):
        found = video_anchors(tiny_generator, frames, temporal_weight=weight, **QUICK)
        return np.square(np.diff(np.asarray(found.ws), n=2, axis=0)).sum()

    assert roughness(10.0) < roughness(0.0)


def test_degrees_by_motion_turn_back(tiny_generator, frames):
    there_and_back = np.concatenate([frames[::2], frames[::-2]])
    # Landmarks that the motion moves: they need no optical flow.
    progress = np.array([0, 2, 4, 6, 7, 5, 3, 1]) / 7
    points = np.stack([np.array([[4.0, 4.0], [4.0 + 3 * p, 8.0 + p]]) for p in progress])
    found = video_anchors(
        tiny_generator, there_and_back, degrees="motion", landmarks=points, **QUICK
    )
    np.testing.assert_allclose(found.degrees, progress, atol=1e-4)
    assert found.meta["motion"]["measured_by"] == "landmarks"
    subspace = mm_jax.extract_subspace(found, method="svd")
    along = np.asarray(found.ws - found.start).reshape(T, -1) @ subspace.basis.ravel()
    assert np.corrcoef(along, progress)[0, 1] > 0.6


def test_bytes_and_floats_are_the_same_frames(tiny_generator, frames):
    whole = np.rint((frames + 1) * 127.5).astype(np.uint8)
    none = {**QUICK, "steps": 0, "together_steps": 0}
    one = video_anchors(tiny_generator, whole, **none)
    other = video_anchors(tiny_generator, whole.astype(np.float32) / 127.5 - 1, **none)
    np.testing.assert_array_equal(one.ws, other.ws)


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (DataError, "at least two frames, got 1", {"frames": slice(0, 1)}),
        (UsageError, "degrees must be", {"degrees": "size"}),
        (UsageError, "start must be", {"start": "last"}),
        (UsageError, "growing integers", {"frame_indices": [0] * T}),
        (UsageError, r"landmarks must be \[8, P, 2\]", {"landmarks": np.zeros((3, 4, 2))}),
    ],
)
def test_bad_arguments(tiny_generator, frames, error, message, change):
    chosen = frames[change.pop("frames", slice(None))]
    with pytest.raises(error, match=message):
        video_anchors(tiny_generator, chosen, **change)
    with pytest.raises(DataError, match="NaN"):
        video_anchors(tiny_generator, frames * np.nan)


def test_a_clip_that_stands_still(tiny_generator, frames):
    still = np.repeat(frames[:1], T, axis=0)
    none = {**QUICK, "steps": 0, "together_steps": 0}
    with pytest.raises(DataError, match="nothing moves"):
        video_anchors(tiny_generator, still, degrees="motion", **none)
