"""Whole conversions: a pickle of NVlabs, encoders with their generators, LPIPS, ArcFace."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mm_jax import io
from mm_jax.encoders import load_encoder
from mm_jax.errors import DataError
from mm_jax.perceptual.arcface import embed_crops, load_arcface
from mm_jax.perceptual.lpips import load_lpips
from mm_jax.zoo import load_generator
from tests.weights_convert import foreign
from weights_convert.job import convert
from weights_convert.options import ConvertOptions
from weights_convert.readers import write_torch_zip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run(content or path, ..)` is (paths, report), in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def save(name, content):
        io.write_atomic(name, lambda file: write_torch_zip(file, content))
        return name

    def call(source, **settings):
        for key in settings.keys() & {"trunk"}:
            settings[key] = save(f"{key}.pth", settings[key])
        source = save("source.pt", source) if isinstance(source, dict) else str(source)
        lines = []
        request = ConvertOptions(source=source, outdir="out", **settings)
        return convert(request, say=lines.append), "\n".join(lines)

    return call


def test_a_pickle_of_nvlabs_gives_its_pictures(run, goldens):
    folder = goldens / "nvlabs" / "map2"
    paths, report = run(folder / "network.pkl", verify=str(folder / "expected.npz"))
    gen = load_generator(paths[0])
    assert (gen.config.mapping_layers, gen.config.conv_clamp) == (2, None)
    passed = [line.split()[0] for line in report.splitlines() if line.endswith("pass")]
    want = {"ws_psi1", "ws_psi05_cut4", "image_const", "image_none", "image_wplus_const"}
    assert want <= set(passed)
    assert "FAIL" not in report
    assert "left aside: D, G" in report


def test_the_network_in_training_is_another(run, goldens):
    folder = goldens / "nvlabs" / "map2"
    with pytest.raises(DataError, match="differs by more than"):
        run(folder / "network.pkl", network="G", verify=str(folder / "expected.npz"))


@pytest.fixture
def checkpoint(states):
    """Of a ReStyle encoder for the small generator; rows of its mean differ."""
    decoder = dict(states["rosinality"])
    mean = decoder.pop("latent_avg")
    encoder = foreign.encoder_state(restyle=True, rows=6, width=12)
    return {
        "state_dict": {
            **{f"encoder.{key}": value for key, value in encoder.items()},
            **{f"decoder.{key}": value for key, value in decoder.items()},
        },
        "opts": {"encoder_type": "BackboneEncoder", "output_size": 16},
        "latent_avg": mean[None] + np.linspace(-1, 1, 6, dtype=np.float32)[:, None],
    }


def test_an_encoder_and_its_generator(run, checkpoint, same):
    paths, report = run(checkpoint)
    assert [path.as_posix() for path in paths] == ["out/encoder", "out/generator"]
    encoder, gen = load_encoder(paths[0]), load_generator(paths[1])
    assert encoder.config.kind == "restyle_psp"
    np.testing.assert_array_equal(encoder.params["latent_avg"], checkpoint["latent_avg"])
    same(gen, tolerance=1e-6)
    assert "encoder   codes" in report and "generator    16 px" in report
    assert "rows of latent_avg differ" in report


def test_a_dry_run_accounts_for_every_key_of_both(run, checkpoint):
    assert run(checkpoint, dry_run=True)[0] == []
    for key in ("encoder.odd", "decoder.odd"):
        state = {**checkpoint["state_dict"], key: np.ones(1, np.float32)}
        with pytest.raises(DataError, match="not in its table: odd"):
            run({**checkpoint, "state_dict": state}, dry_run=True)


def test_an_encoder_without_a_stored_mean(run, checkpoint):
    checkpoint = {key: value for key, value in checkpoint.items() if key != "latent_avg"}
    paths, report = run(checkpoint)
    assert "no latent_avg" in report
    mean = load_generator(paths[1]).params["mapping"]["w_avg"]
    np.testing.assert_allclose(load_encoder(paths[0]).params["latent_avg"][0], mean, atol=1e-6)


def test_arcface(run, tmp_path):
    state = foreign.arcface_state()
    crops = np.random.RandomState(1).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)
    paths, report = run(state)
    arcface = load_arcface(paths[0])
    assert arcface.config.embedding == 5
    assert "embedding" in report
    embedding = np.asarray(jax.jit(embed_crops)(arcface, np.moveaxis(crops, 1, -1)))
    np.savez(tmp_path / "right.npz", in_x112=crops, embedding=embedding)
    np.savez(tmp_path / "wrong.npz", in_x112=crops, embedding=embedding[::-1])
    assert "pass" in run(state, verify="right.npz", overwrite=True)[1]
    with pytest.raises(DataError, match=r"differs by more than .*: embedding"):
        run(state, verify="wrong.npz", overwrite=True)
    assert load_arcface(paths[0]).config == arcface.config


def test_lpips_wants_both_files(run):
    random = np.random.RandomState(0)
    widths, places = (2, 3, 4, 5, 2), (0, 3, 6, 8, 10)
    trunk, linear, before = {}, {}, 3
    for k, (width, place) in enumerate(zip(widths, places, strict=True)):
        taps = (11, 5, 3, 3, 3)[k]
        kernel = random.standard_normal((width, before, taps, taps)).astype(np.float32)
        trunk |= {
            f"features.{place}.weight": kernel / taps,
            f"features.{place}.bias": kernel[:, 0, 0, 0],
        }
        linear[f"lin{k}.model.1.weight"] = np.ones((1, width, 1, 1), np.float32)
        before = width
    trunk |= {"classifier.6.weight": random.standard_normal((2, 2)).astype(np.float32)}
    paths, report = run(linear, trunk=trunk)
    assert load_lpips(paths[0]).config.net == "alex"
    assert "distance" in report
    with pytest.raises(DataError, match="--trunk"):
        run(linear)
    with pytest.raises(DataError, match="classifier of torchvision by itself"):
        run(trunk)
