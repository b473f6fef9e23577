"""Every method on a linear toy world, whose truth is known in closed form.

Latents of W are normal with a known covariance, of which some dimensions are dead. Factors are
linear in w, the scores of CLIP too, so each method's answer can be written down.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from mm_jax.anchors import gradient
from mm_jax.anchors.metric import direction_along
from mm_jax.anchors.prompts import MOTIONS, degree_values
from mm_jax.anchors.sample import average_matches
from mm_jax.artifacts import Anchors
from mm_jax.baselines import (
    ceilings,
    clip_scores,
    ganspace,
    interfacegan,
    lowrank,
    ours,
    random_direction,
    sefa,
    styleclip,
)
from mm_jax.baselines.methods import TABLE
from mm_jax.baselines.moving import moved_images, typical_amount
from mm_jax.baselines.options import METHODS, BaselineOptions, parse_methods
from mm_jax.baselines.oracle import pick
from mm_jax.baselines.world import Direction, Sampled, World
from mm_jax.demo.options import DemoOptions
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import synthesize, synthesize_from_styles, to_stylespace
from mm_jax.perceptual.clip import encode_image
from mm_jax.subspace.decompose import extract_subspace

FACTORS = ("age", "smile", "yaw", "eye_open")
SMILE = MOTIONS["smile"]
ROWS, WIDTH, LIVE = 6, 12, 8


def cosine(a: Any, b: Any) -> float:
    a, b = np.ravel(a).astype(float), np.ravel(b).astype(float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


class ToyWorld(World):
    """w = M n with n normal, of which the last dimensions are 0; f = A w; CLIP's score is g w."""

    def __init__(self, gen: Any, clip: Any, *, count: int = 3000, isotropic: bool = False) -> None:
        rng = np.random.default_rng(0)
        super().__init__(
            gen, clip, key=jax.random.key(0), probe=SimpleNamespace(factors=FACTORS),  # type: ignore[arg-type]
            options=BaselineOptions(samples=count, components=LIVE),
        )  # fmt: skip
        spreads = np.ones(LIVE) if isotropic else np.linspace(2.0, 0.5, LIVE)
        self.mixing = np.zeros((WIDTH, LIVE))
        self.mixing[:LIVE] = np.linalg.qr(rng.standard_normal((LIVE, LIVE)))[0] * spreads
        w = rng.standard_normal((count, LIVE)) @ self.mixing.T
        self.readout = rng.standard_normal((len(FACTORS), WIDTH))  # also of dead dimensions
        self.gradients = rng.standard_normal((len(MOTIONS), WIDTH))
        texts = [self.texts(motion) for motion in MOTIONS.values()]
        differences = np.stack([high - low for low, high in texts])  # [5, E]
        vectors = w @ self.gradients.T @ np.linalg.pinv(differences).T
        self.truth = self.mixing @ self.mixing.T
        self.__dict__ |= {
            "faces": Sampled(w, vectors, w @ self.readout.T),
            "covariance": np.cov(w.T),
            "jacobian": np.repeat(self.readout[:, None] / ROWS, ROWS, axis=1),
            "scale": np.ones(len(FACTORS)),
        }

    @property
    def own(self) -> np.ndarray:
        """The gradient [D] of the score of smiling."""
        return self.gradients[list(MOTIONS).index("smile")]


@pytest.fixture(scope="module")
def toy(tiny_generator: Any, tiny_clip: Any) -> ToyWorld:
    return ToyWorld(tiny_generator, tiny_clip)


def rows_agree(direction: Direction) -> np.ndarray:
    """The move of W [D], which is the same in all rows."""
    move = np.asarray(direction.move)
    np.testing.assert_allclose(move, np.repeat(move[:1], ROWS, axis=0), rtol=1e-5, atol=1e-6)
    return move[0]


def test_the_toys_score_is_what_was_planted(toy: ToyWorld) -> None:
    np.testing.assert_allclose(toy.score(SMILE), toy.faces.w @ toy.own, atol=1e-4)


def test_regression_on_a_linear_score_is_covariance_times_gradient(toy: ToyWorld) -> None:
    move = rows_agree(clip_scores.find_regression(toy, SMILE))
    along = toy.covariance @ toy.own
    np.testing.assert_allclose(move, along / (toy.own @ along), atol=1e-4)
    assert cosine(move, toy.truth @ toy.own) > 0.995
    with pytest.raises(DataError, match="scores all sampled faces alike"):
        clip_scores.slopes(toy.faces.w, np.ones(len(toy.faces.w)))


def test_means_of_the_extremes(toy: ToyWorld) -> None:
    w = np.array([[0.0, 1], [10, 2], [2, 3], [6, 4], [4, 5]])
    np.testing.assert_allclose(clip_scores.difference_of_means(w, w[:, 0], 2), [7.0, 1.0])
    assert cosine(rows_agree(clip_scores.find_means(toy, SMILE)), toy.truth @ toy.own) > 0.98


def test_the_boundary_of_labels(tiny_generator: Any, tiny_clip: Any) -> None:
    pytest.importorskip("sklearn")
    world = ToyWorld(tiny_generator, tiny_clip, isotropic=True)
    # In a round W the best boundary is across the score's gradient, as far as W holds it.
    live = np.concatenate([world.own[:LIVE], np.zeros(WIDTH - LIVE)])
    plain = rows_agree(interfacegan.find(world, SMILE, labels="clip", condition=False))
    assert cosine(plain, live) > 0.97
    given = rows_agree(interfacegan.find(world, SMILE, labels="clip", condition=True))
    for name in MOTIONS:
        if name != "smile":
            other = interfacegan.find(world, MOTIONS[name], labels="clip", condition=False)
            assert abs(cosine(given, rows_agree(other))) < 1e-5
    # By known factors, of which closing eyes lowers its own.
    closing = interfacegan.find(world, MOTIONS["closing_eyes"], labels="probe", condition=False)
    readout = world.readout[FACTORS.index("eye_open"), :LIVE]
    assert cosine(rows_agree(closing)[:LIVE], readout) < -0.97
    conditional = interfacegan.find(world, SMILE, labels="probe", condition=True)
    effects = world.readout @ rows_agree(conditional)
    assert abs(effects[1]) > 3 * np.abs(np.delete(effects, 1)).max()


def test_a_condition_that_leaves_nothing() -> None:
    with pytest.raises(DataError, match="leave nothing"):
        interfacegan.conditional(np.array([1.0, 0]), [np.eye(2)[0], np.eye(2)[1]])
    np.testing.assert_array_equal(interfacegan.conditional(np.eye(2)[0], []), [1, 0])


@pytest.mark.parametrize(
    ("find", "within"), [(ceilings.find_regression, 1e-3), (ceilings.find_jacobian, 0.02)]
)
def test_the_ceilings_move_the_target_alone(toy: ToyWorld, find: Any, within: float) -> None:
    effects = toy.readout @ rows_agree(find(toy, SMILE))
    np.testing.assert_allclose(effects, [0, 1, 0, 0], atol=within)
    # Eyes close: their opening falls.
    effects = toy.readout @ rows_agree(find(toy, MOTIONS["closing_eyes"]))
    np.testing.assert_allclose(effects, [0, 0, 0, -1], atol=within)


def test_the_oracle_picks_component_rows_and_sign() -> None:
    # Component 1 moves the target backwards in rows 2 and 3, and another factor in rows 4 and 5.
    jacobian = np.zeros((2, ROWS, 3))
    jacobian[0, 2:4, 1], jacobian[1, 4:, 1], jacobian[1, :, 0] = -1.0, 1.0, 1.0
    covariance = np.diag([1.0, 4.0, 0.0])
    found = pick(
        lambda first, last: np.eye(3), jacobian=jacobian, covariance=covariance, target=0, sign=1
    )
    assert (found.component, found.share) == (1, 1.0) and found.first <= 3 and found.last < 4
    np.testing.assert_array_equal(found.move[found.first : found.last + 1, 1], -2)  # one sd of W
    assert not found.move[:, [0, 2]].any()
    assert found.facts["rows"] == [found.first, found.last]


def test_the_oracle_prefers_what_moves_enough() -> None:
    # Row 0 is pure and hardly moves the target; all rows together move it, not quite purely.
    jacobian = np.array([[[0.01], [1.0]], [[0.0], [0.1]]])
    found = pick(
        lambda first, last: np.ones((1, 1)), jacobian=jacobian, covariance=np.eye(1), target=0,
        sign=-1,
    )  # fmt: skip
    assert found.last == 1 and found.move[1, 0] == -1


def test_ganspace_finds_a_factor_along_a_component(toy: ToyWorld) -> None:
    components = ganspace.principal_components(toy.faces.w, WIDTH)
    spread = (toy.faces.w @ components.T).std(axis=0)
    assert (np.diff(spread) <= 1e-9).all()
    np.testing.assert_allclose(spread[:LIVE], np.linspace(2.0, 0.5, LIVE), rtol=0.1)
    jacobian = np.zeros((len(FACTORS), ROWS, WIDTH))
    jacobian[:, 3] = components[[0, 2, 1, 3]]
    world = ToyWorld(toy.gen, toy.clip)
    world.__dict__["jacobian"] = jacobian
    found = ganspace.find(world, SMILE)
    assert found.facts["component"] == 2 and found.facts["linear_share"] == 1
    assert cosine(np.asarray(found.move)[3], components[2]) > 0.999


def test_sefa_takes_eigenvectors_of_rows_of_unit_length(toy: ToyWorld) -> None:
    matrices = [np.eye(3)[[0, 0, 1]] * [[5.0], [0.1], [2]], np.eye(3)[[0, 1, 2]]]
    found = sefa.eigenvectors(matrices, 2)  # A'A = diag(3, 2, 1)
    np.testing.assert_allclose(np.abs(found), np.eye(3)[:2], atol=1e-9)
    assert len(sefa.eigenvectors([], 2)) == 0
    # The maps are those of the generator, whose styles are affine in w.
    ws = toy.draw("any", 3)
    styles, origin = (to_stylespace(toy.gen, x) for x in (ws, np.zeros_like(ws)))
    for name, matrix in sefa.affine_maps(toy.gen).items():
        row = toy.gen.config.row_of(name)
        shift = np.asarray(styles[name]) - np.asarray(origin[name])
        np.testing.assert_allclose(shift, ws[:, row] @ matrix.T, atol=1e-4)
    picked = sefa.find(toy, SMILE)
    effects = np.einsum("fld,ld->f", toy.jacobian, np.asarray(picked.move))
    assert effects[1] > 0
    share = effects[1] / np.abs(effects).sum()
    np.testing.assert_allclose(share, picked.facts["linear_share"], atol=1e-3)


def test_the_image_jacobian_and_its_low_rank_part(toy: ToyWorld) -> None:
    w = toy.draw("one", 1)[0, 0]
    gram = lowrank.image_gram(toy.gen, w, 1e-2)
    v = np.random.default_rng(1).standard_normal(WIDTH)
    step = 1e-2 * v / np.linalg.norm(v)
    ends = np.stack([w + step, w - step]).astype(np.float32)
    images = np.asarray(synthesize(toy.gen, np.repeat(ends[:, None], ROWS, axis=1)))
    measured = ((images[0] - images[1]) ** 2).sum() / 4
    np.testing.assert_allclose(step @ gram @ step, measured, rtol=0.05)
    # Two directions, and entries that are off: the directions come out, in their order.
    u = np.linalg.qr(np.random.default_rng(2).standard_normal((40, 2)))[0].T
    matrix = 10 * np.outer(u[0], u[0]) + 5 * np.outer(u[1], u[1])
    matrix[3, 7] = matrix[7, 3] = 4.0
    some = np.linalg.qr(np.random.default_rng(3).standard_normal((WIDTH, 3)))[0].T
    part = lowrank.image_gram(toy.gen, w, 1e-2, basis=some)
    np.testing.assert_allclose(some @ part @ some.T, some @ gram @ some.T, rtol=0.05, atol=1e-3)
    assert np.linalg.matrix_rank(part, tol=1e-6 * np.trace(part)) == 3
    found = lowrank.principal_directions(matrix, 2)
    assert min(abs(cosine(found[0], u[0])), abs(cosine(found[1], u[1]))) > 0.99


def test_styleclips_relevance() -> None:
    rng = np.random.default_rng(0)
    changes, text = rng.standard_normal((5, 9)), rng.standard_normal(5)  # E = 5, C = 9
    text /= np.linalg.norm(text)
    changes[:, 0], changes[:, 1] = 3 * text, 0.0
    basis = np.linalg.qr(rng.standard_normal((5, 5)))[0].T
    found = styleclip.relevances(text @ changes, basis @ changes, 5)
    wanted = [cosine(text, change) if change.any() else 0.0 for change in changes.T]
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    moves = styleclip.channel_moves(np.array([0.5, -0.2, 0.1]), np.array([2.0, 1, 1]), 0.15)
    np.testing.assert_allclose(moves, [1.0, -0.2, 0])
    assert styleclip.channel_moves(np.array([0.1, 0.04]), np.ones(2), 0.15).tolist() == [0.1, 0]
    with pytest.raises(DataError, match="no channel of S"):
        styleclip.channel_moves(np.zeros(3), np.ones(3), 0.15)


def test_styleclips_changes_are_derivatives(toy: ToyWorld) -> None:
    world = World(
        toy.gen,
        toy.clip,
        key=jax.random.key(1),
        options=BaselineOptions(jacobian_faces=3, batch=12, sketch=2),
    )
    low, high = world.texts(SMILE)
    text = (high - low) / np.linalg.norm(high - low)
    changes = styleclip.style_changes(world, np.repeat(text[None], 3, axis=0).astype(np.float32))
    styles = {
        k: np.asarray(v)
        for k, v in to_stylespace(world.gen, world.draw("style changes", 3)).items()
    }
    name, channel, step = "b8.conv1", 2, 3e-3
    ends = []
    for way in (1, -1):
        moved = {**styles, name: styles[name] + way * step * np.eye(8, dtype=np.float32)[channel]}
        vectors = encode_image(world.clip, synthesize_from_styles(world.gen, moved))
        ends.append(np.asarray(vectors) @ text)
    wanted = (ends[0] - ends[1]).mean() / (2 * step)
    np.testing.assert_allclose(changes[name][0, channel], wanted, rtol=0.03, atol=2e-4)
    found = styleclip.find(world, SMILE)
    assert found.space == "S" and set(found.arrays()) == set(world.gen.config.layer_names)


def _anchors(rng: np.random.Generator, move: np.ndarray, *, rises: bool = True) -> Anchors:
    start = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    degrees = np.linspace(0, 1, 6, dtype=np.float32)
    ws = start + degrees[:, None, None] * move
    return Anchors(ws.astype(np.float32), start, degrees, {"rises": rises})


def test_our_direction_of_anchors_on_a_line() -> None:
    rng = np.random.default_rng(0)
    move = rng.standard_normal((ROWS, WIDTH))
    good, bad = _anchors(rng, move), _anchors(rng, -3 * move, rises=False)
    found = ours.direction_of([good, bad], SMILE)
    np.testing.assert_allclose(found.move, move, atol=1e-4)
    assert found.facts == {"sets": 1, "pc1_ratio": 1.0, "effective_rank": 1.0}
    # Where none rises, all are kept.
    assert ours.direction_of([bad], SMILE).facts["sets"] == 1


def test_our_variants_see_the_starts_that_they_say(toy: ToyWorld) -> None:
    rng = np.random.default_rng(0)
    moves = [rng.standard_normal((ROWS, WIDTH)) for _ in range(2)]
    world = ToyWorld(toy.gen, toy.clip)
    sets = [_anchors(rng, move) for move in moves]
    world._anchors["smile"] = sets
    np.testing.assert_allclose(ours.one_start(world, SMILE).move, moves[0], atol=1e-4)
    both = ours.optimize(world, SMILE)
    wanted = extract_subspace(sets, method="svd", rank=1).direction
    np.testing.assert_allclose(both.move, wanted, atol=1e-4)
    assert abs(cosine(ours.compat(world, SMILE).move, moves[0])) > 0.9


def test_our_video_withstands_bad_frames(toy: ToyWorld, monkeypatch: Any) -> None:
    rng = np.random.default_rng(0)
    move = rng.standard_normal((ROWS, WIDTH))
    anchors = _anchors(rng, move)
    degrees = np.linspace(0, 1, 20, dtype=np.float32)
    ws = anchors.start + degrees[:, None, None] * move
    ws[[4, 9, 15]] += 4 * rng.standard_normal((3, ROWS, WIDTH))
    spoiled = dataclasses.replace(
        anchors, ws=ws.astype(np.float32), degrees=degrees, meta={"source": "video"}
    )
    world = ToyWorld(toy.gen, toy.clip)
    monkeypatch.setattr(world, "video_anchors", lambda motion: spoiled)
    assert cosine(ours.video(world, SMILE).move, move) > 0.98
    with pytest.raises(UsageError, match="no video of anger"):
        toy.video_anchors(MOTIONS["anger"])


def test_our_gradients_are_those_of_the_anchors(tiny_generator: Any, tiny_clip: Any) -> None:
    options = BaselineOptions(averaged=6)
    world = World(tiny_generator, tiny_clip, key=jax.random.key(2), options=options,
                  motions=("anger", "smile"))  # fmt: skip
    found = ours.gradient(world, dataclasses.replace(SMILE, layers=(1, 2)))
    move = np.asarray(found.move)
    assert move[1].any() and not move[[0, 3, 4, 5]].any()
    np.testing.assert_array_equal(move[1], move[2])
    # The same as anchors of the same faces have, and no other motion's.
    degrees = degree_values(DemoOptions().anchors.degrees)
    own, _ = gradient.reading_gradients(
        world.gen, world.clip, world.draw("gradients", 6), world.prompts(SMILE.template)[None],
        degrees,
    )  # fmt: skip
    field, agreement = gradient.mean_field(own[0], world.metric, np.ones(ROWS, bool))
    np.testing.assert_allclose(world.fields["smile"][0], field, atol=1e-4 * np.abs(field).max())
    wanted = direction_along(field.sum(axis=0), world.covariance)
    np.testing.assert_allclose(move[1], wanted, atol=1e-3 * np.abs(wanted).max())
    assert found.facts["agreement"] == pytest.approx(agreement, abs=1e-3)
    # The baseline takes the same gradient by the covariance itself.
    plain = np.asarray(clip_scores.find_gradient(world, SMILE).move)
    assert cosine(plain[0], world.covariance @ world.fields["smile"][0].sum(axis=0)) > 0.9999
    assert abs(cosine(move[1], ours.gradient(world, MOTIONS["anger"]).move[0])) < 0.99  # type: ignore[index]


def test_our_refined_gradients_see_the_faces_that_all_share(toy: ToyWorld) -> None:
    def refine(gradient_of_score: np.ndarray) -> np.ndarray:
        rows = np.repeat(gradient_of_score[None] / ROWS, ROWS, axis=0)
        toy.__dict__["fields"] = {"smile": (rows, 1.0)}
        return rows_agree(ours.refine(toy, SMILE))

    before = dict(toy.__dict__)
    try:
        right, wrong = refine(toy.own), refine(toy.gradients[1])
    finally:
        toy.__dict__.clear()
        toy.__dict__.update(before)
    assert toy.own @ right > 0 and not right[LIVE:].any()
    np.testing.assert_allclose(right @ np.linalg.pinv(toy.covariance) @ right, 1, rtol=1e-5)
    # Where the gradients are another motion's, the sampled faces still pull towards the right one.
    plain = direction_along(toy.gradients[1], toy.covariance)
    assert cosine(wrong, right) > cosine(plain, right) + 0.1


def test_our_samples_are_those_that_all_share(toy: ToyWorld) -> None:
    found = ours.sample(toy, SMILE)
    count = toy.options.samples // 4
    matched = average_matches(
        toy.faces.w[:count], toy.faces.vectors[:count] @ toy.prompts(SMILE.template).T,
        scale=float(toy.clip.logit_scale), keep=32,
    )  # fmt: skip
    move = rows_agree(found)
    # Few samples of a toy are noisy; from no to all is the way, in any case.
    assert cosine(move, matched.offsets[-1] - matched.offsets[0]) > 0.25


def test_a_random_direction_leads_from_face_to_face(toy: ToyWorld) -> None:
    first, second = toy.draw("random direction smile", 2)
    np.testing.assert_array_equal(random_direction.find(toy, SMILE).move, second - first)
    other = random_direction.find(toy, MOTIONS["anger"])
    assert abs(cosine(other.move, second - first)) < 0.99


def test_moves_in_w_and_in_s_agree(toy: ToyWorld) -> None:
    ws, amounts = toy.draw("moved", 3), np.array([0.0, 0.5])
    move = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
    ends, origin = (to_stylespace(toy.gen, x[None]) for x in (move, np.zeros_like(move)))
    styles = {name: np.asarray(ends[name] - origin[name])[0] for name in ends}
    drawn = [
        np.concatenate(list(moved_images(toy.gen, ws, direction, amounts, batch=4)))
        for direction in (Direction(move), Direction(styles))
    ]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-3)
    np.testing.assert_allclose(drawn[0][::2], synthesize(toy.gen, ws), atol=1e-4)
    reached = np.linalg.norm(typical_amount(toy.gen, ws, Direction(move)) * move)
    np.testing.assert_allclose(reached**2, ws.var(axis=0).sum(), rtol=1e-4)


def test_directions_are_kept_as_arrays() -> None:
    for move in (np.ones((2, 3), np.float32), {"b4.conv1": np.ones(4, np.float32)}):
        again = Direction.of(Direction(move).arrays())
        assert again.space == Direction(move).space
        assert again.arrays().keys() == Direction(move).arrays().keys()


def test_the_table_names_every_method() -> None:
    assert tuple(TABLE) == METHODS
    assert parse_methods("sefa, random", flag="--baselines") == ("random", "sefa")
    with pytest.raises(UsageError, match="'magic' is none of"):
        parse_methods("magic", flag="--baselines")
    labels = {(method.title, method.sees) for method in TABLE.values()}
    assert len(labels) == len(TABLE)


def test_methods_say_what_they_lack(toy: ToyWorld) -> None:
    blind = World(toy.gen, toy.clip, key=jax.random.key(0))
    with pytest.raises(UsageError, match="needs a probe"):
        ceilings.find_jacobian(blind, SMILE)
