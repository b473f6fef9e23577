"""mm_convert end to end: folders that the other programs open, one line about bad files."""

import json
import pickle
import re
import shlex
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from mm_jax import media
from mm_jax.artifacts import load_subspace
from mm_jax.latents import sample_latents
from mm_jax.nn.network import flatten_tree
from mm_jax.zoo import load_generator
from weights_convert import nvlabs, rosinality
from weights_convert.readers import write_torch_zip


@pytest.fixture
def convert(call):
    return lambda *args: call("mm_convert", *args)


@pytest.fixture
def convert_fails(fails):
    def run(status, words, *args):
        fails(status, words, "mm_convert", "--outdir=out", *args)

    return run


@pytest.fixture(scope="session")
def state(generator_dir):
    """rosinality's state dict of the small generator, and the mean."""
    gen = load_generator(generator_dir)
    return rosinality.params_to_rosinality(gen.config, gen.params)


def save(name, content):
    with open(name, "wb") as file:
        write_torch_zip(file, content)
    return f"--source={name}"


def same_parameters(one, other):
    assert load_generator(one).fingerprint == load_generator(other).fingerprint


@pytest.mark.parametrize(
    ("to", "format", "further"),
    [
        ("rosinality", "pt", ()),
        ("rosinality", "safetensors", ()),
        ("nvlabs", "pt", ("--conv_clamp=none",)),
        ("nvlabs", "safetensors", ("--conv_clamp=none",)),
    ],
)
def test_there_and_back(convert, generator_dir, to, format, further):
    status, out, err = convert(
        f"--source={generator_dir}", f"--to={to}", f"--format={format}", "--outdir=theirs"
    )
    assert status == 0, err
    assert "reads back as the same" in out
    assert {p.name for p in Path("theirs").iterdir()} == {f"generator.{format}", "conversion.json"}
    source = f"--source=theirs/generator.{format}"
    status, out, err = convert(source, *further, "--outdir=ours")
    assert status == 0, err
    assert "16 px  mean" in out
    same_parameters("ours", generator_dir)


def test_to_onnx(convert, generator_dir):
    args = f"--source={generator_dir}", "--to=onnx", "--outdir=theirs"
    status, out, err = convert(*args, "--dry_run")
    assert status == 0 and "nothing was written" in out and not Path("theirs").exists(), err
    status, out, err = convert(*args)
    assert status == 0, err
    assert re.search(
        r"wrote theirs/generator.onnx, whose images differ from ours by at most \d", out
    )
    assert {p.name for p in Path("theirs").iterdir()} == {"generator.onnx", "conversion.json"}
    assert "holds this conversion already" in convert(*args)[1]


def test_what_other_programs_open(convert, call, generator_dir, state):
    weights, mean = state
    source = save("faces.pt", {"g_ema": weights, "latent_avg": mean})
    status, out, err = convert(source, "--outdir=models/faces")
    assert status == 0, err
    record = json.loads(Path("models/faces/conversion.json").read_text())
    assert record["layout"] == "rosinality"
    assert record["source"]["file"] == "faces.pt"
    assert record["source"]["sha256"] in out
    gen = load_generator("models/faces")
    assert gen.name == "faces"
    assert gen.meta["source"] == record["source"]

    np.save("d_latent.npy", np.linspace(-1, 2, 6 * 12, dtype=np.float32).reshape(1, 6, 12))
    status, out, err = convert("--source=d_latent.npy", "--outdir=motion")
    assert status == 0, err
    assert load_subspace("motion/subspace.npz").meta["source"]["file"] == "d_latent.npy"
    generator = "--generator=models/faces"
    status, _, err = call("mm_sample", generator, "--seeds=0,1", "--outdir=faces")
    assert status == 0, err
    assert media.read_image("faces/grid.png").shape == (16, 32, 3)
    status, _, err = call(
        "mm_edit", generator, "--subspace=motion/subspace.npz", "--seeds=0", "--frames=3",
        "--format=npy", "--outdir=moved",
    )  # fmt: skip
    assert status == 0, err


def test_expected_pictures(convert, goldens, rule):
    small = goldens / "rosinality" / "small"
    weights = rule.weights(small / "manifest.json")
    mean = weights.pop("latent_avg")
    state = {key.removeprefix("g_ema."): value for key, value in weights.items()}
    source = save("small.pt", {"g_ema": state, "latent_avg": mean})
    status, out, err = convert(source, f"--verify={small / 'expected.npz'}", "--outdir=out")
    assert status == 0, err
    passed = [line.split()[0] for line in out.splitlines() if line.endswith("pass")]
    assert {"w", "image_z", "image_wplus", "image_trunc07", "skip_8", "skip_64"} <= set(passed)
    assert "FAIL" not in out


def test_other_pictures_than_expected(convert, state):
    weights, mean = state
    source = save("x.pt", {"g_ema": weights, "latent_avg": mean})
    random = np.random.RandomState(0)
    z = random.standard_normal((1, 10)).astype(np.float32)
    wrong = {"skip_8": random.standard_normal((1, 3, 8, 8)), "skip_16": np.ones((1, 3, 8, 8))}
    np.savez("wrong.npz", in_z=z, **wrong, other=np.ones(3))
    np.savez("nothing.npz", in_z=z, other=np.ones(3))
    np.savez("misfit.npz", in_z=z[:, :4], **wrong)
    for name, words in [
        ("wrong", "x.pt: differs by more than 0.0001 of the largest value"),
        ("nothing", "nothing to compare with"),
        ("misfit", "do not fit"),
        ("absent", "no such file"),
    ]:
        status, out, err = convert(source, f"--verify={name}.npz", "--outdir=out")
        assert status == 1
        assert words in err and err.count("\n") == 1
        assert not Path("out").exists()
        if name == "wrong":
            assert "not compared: other" in out
            assert "FAIL" in out


def test_again_and_another(convert, convert_fails, state):
    weights, mean = state
    source = save("x.pt", {"g_ema": weights, "latent_avg": mean})
    convert(source, "--outdir=out")
    stamp = Path("out/params.safetensors").stat().st_mtime_ns
    status, out, _ = convert(source, "--outdir=out")
    assert status == 0
    assert "holds this conversion already" in out
    assert Path("out/params.safetensors").stat().st_mtime_ns == stamp
    other = save("y.pt", {"g_ema": weights, "latent_avg": mean + 1})
    convert_fails(2, "--overwrite", other)
    assert convert(other, "--outdir=out", "--overwrite")[0] == 0
    np.testing.assert_allclose(load_generator("out").params["mapping"]["w_avg"], mean + 1)
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    convert_fails(2, "something else", source, "--outdir=mine")
    convert_fails(1, "something other than", source, "--outdir=mine", "--overwrite")


def test_a_dry_run_writes_nothing(convert, state):
    weights, mean = state
    source = save("x.pt", {"g_ema": weights, "latent_avg": mean})
    before = sorted(Path().rglob("*"))
    status, out, _ = convert(source, "--outdir=out", "--dry_run")
    assert status == 0
    for words in ("rosinality", "resolution: 16", "channels: 4: 8", "sha256", "parameters"):
        assert words in out
    assert sorted(Path().rglob("*")) == before


def test_a_folder_of_clip(convert, tiny_clip_dir):
    from mm_jax.perceptual import load_clip

    status, out, err = convert(f"--source={tiny_clip_dir}", "--outdir=clip")
    assert status == 0, err
    assert "features" in out
    assert load_clip("clip").image_size == 16


def test_a_folder_of_clip_whose_weights_are_pickled(convert, tiny_clip, tiny_clip_dir):
    """As torch wrote them, in two shards and in half precision."""
    from safetensors.numpy import load_file

    from mm_jax.perceptual import load_clip

    shutil.copytree(tiny_clip_dir, "pickled")
    weights = load_file("pickled/model.safetensors")
    Path("pickled/model.safetensors").unlink()
    names = sorted(weights)
    for i in range(2):
        some = {name: weights[name].astype(np.float16) for name in names[i::2]}
        save(f"pickled/pytorch_model-0000{i + 1}-of-00002.bin", some)
    status, out, err = convert("--source=pickled", "--outdir=clip")
    assert status == 0, err
    assert "read without torch" in out
    ours, theirs = flatten_tree(load_clip("clip").params), flatten_tree(tiny_clip.params)
    for path, value in ours.items():
        np.testing.assert_allclose(value, theirs[path], rtol=1e-3, atol=1e-3)


def test_other_folders_of_hugging_face(convert_fails):
    Path("siglip").mkdir()
    Path("siglip/config.json").write_text('{"model_type": "siglip"}')
    convert_fails(1, "got 'siglip', which is not supported", "--source=siglip")
    Path("open").mkdir()
    vision = {"timm_model_name": "vit_base_patch16_siglip_224"}
    config = {"model_cfg": {"vision_cfg": vision, "text_cfg": {}}}
    Path("open/open_clip_config.json").write_text(json.dumps(config))
    convert_fails(1, "got vit_base_patch16_siglip_224, which is not supported", "--source=open")


def test_wrappers_and_foreign_classes(convert, generator_dir, state):
    """What people's programs put around a state is taken off, and said."""
    weights, mean = state
    behind = {f"module.{key}": value for key, value in weights.items()}
    flat = {f"generator.{key}": value for key, value in weights.items()}
    for name, content, words in [
        ("ddp", {"g_ema": behind, "latent_avg": mean}, "the prefix 'module.'"),
        ("nested", {"state_dict": {"params_ema": weights}, "latent_avg": mean, "epoch": 3},
         "taken from params_ema in state_dict; left aside: epoch"),
        ("lightning", {"state_dict": {**flat, "loss.weight": mean}, "latent_avg": mean},
         "taken from generator in state_dict"),
        ("compiled", {"_orig_mod." + key: value for key, value in behind.items()} |
         {"latent_avg": mean, "n_averaged": np.int64(1)}, "the prefix"),
        ("two", {"generator_ema": weights, "generator": {**weights, "input.input": mean},
                 "latent_avg": mean}, "taken from generator_ema; left aside: generator"),
    ]:  # fmt: skip
        status, out, err = convert(save(f"{name}.pt", content), f"--outdir={name}")
        assert status == 0, err
        assert words in out, name
        same_parameters(name, generator_dir)
    content = {"state_dict": {"module.a": mean, "a": mean}}
    status, _, err = convert(save("twice.pt", content), "--outdir=twice")
    assert status == 1 and "two keys are a once their prefix is left out" in err


def test_kinds_of_latents_and_directions(convert, convert_fails, generator_dir):
    """What the file holds is told by keys, lengths, names and the generator, or asked for."""
    gen = load_generator(generator_dir)
    ws = np.asarray(sample_latents(gen, seeds=range(3)))
    unit = np.linspace(-1, 1, 12, dtype=np.float32)[None] / 3.0
    unit /= np.linalg.norm(unit)
    np.savez("projected_w.npz", w=ws)
    save("projector.pt", {"me.png": {"img": ws[0], "latent": ws[0], "noise": [ws[0]]}})
    np.save("some_codes.npy", ws)
    np.save("thing.npy", ws)
    people = {"anna": ws[0], "bert": ws[1]}
    Path("people_codes.pkl").write_bytes(pickle.dumps(people, protocol=4))
    np.save("unit.npy", unit)
    np.save("flat_boundary.npy", np.tile(unit, 6).reshape(1, -1))
    columns, _ = np.linalg.qr(np.random.RandomState(0).standard_normal((12, 12)))
    save("factor.pt", {"ckpt": "x.pt", "eigvec": columns.astype(np.float32)})
    whose = f"--generator={generator_dir}"
    for name, flags, file, shape in [
        ("projected_w.npz", (), "latents.npz", (3, 6, 12)),
        ("projector.pt", (), "latents.npz", (1, 6, 12)),
        ("some_codes.npy", (), "latents.npz", (3, 6, 12)),
        ("thing.npy", ("--layout=codes",), "latents.npz", (3, 6, 12)),
        ("people_codes.pkl", (), "latents.npz", (2, 6, 12)),
        ("unit.npy", ("--rows=6",), "subspace.npz", (1, 6, 12)),
        ("flat_boundary.npy", (whose,), "subspace.npz", (1, 6, 12)),
        ("factor.pt", (whose,), "subspace.npz", (12, 6, 12)),
        ("factor.pt", (whose, "--component=3", "--overwrite"), "subspace.npz", (1, 6, 12)),
    ]:
        outdir = f"out_{name}"
        status, _, err = convert(f"--source={name}", *flags, f"--outdir={outdir}")
        assert status == 0, err
        array = {"latents.npz": "ws", "subspace.npz": "basis"}[file]
        with np.load(f"{outdir}/{file}") as stored:
            assert stored[array].shape == shape, name
    chosen = load_subspace("out_factor.pt/subspace.npz")
    np.testing.assert_allclose(chosen.direction[0], columns[:, 3], atol=1e-6)
    convert_fails(1, "may be 3 latents or 3 directions: add --layout", "--source=thing.npy")
    # And back, as the projector writes them.
    source = "--source=out_projected_w.npz/latents.npz"
    assert convert(source, "--to=projected_w", "--outdir=back")[0] == 0
    with np.load("back/code0001.npz") as stored:
        np.testing.assert_array_equal(stored["w"], ws[1:2])


def test_edits_of_ganspace(convert, convert_fails):
    row = np.linspace(-1, 1, 12, dtype=np.float32)[None] / 3.0
    row /= np.linalg.norm(row)
    edit = {
        "name": "smile", "lat_comp": row, "lat_stdev": 2.0, "edit_type": "latent",
        "edit_start": 2, "edit_end": 4, "latent_space": "W", "decomposition": {"layer": "style"},
    }  # fmt: skip
    Path("edit.pkl").write_bytes(pickle.dumps(edit, protocol=4))
    status, _, err = convert("--source=edit.pkl", "--rows=6", "--outdir=edit")
    assert status == 0, err
    found = load_subspace("edit/subspace.npz")
    assert found.mask.tolist() == [False, False, True, True, False, False]
    np.testing.assert_allclose(found.direction[2:4], 2 * np.repeat(row, 2, 0), atol=1e-6)
    Path("z.pkl").write_bytes(pickle.dumps({**edit, "latent_space": "Z"}, protocol=4))
    convert_fails(1, "is an edit in Z, and edits here are of W", "--source=z.pkl")
    np.savez(
        "cache.npz", act_comp=row, act_mean=row, act_stdev=np.ones(1), lat_comp=row[None],
        lat_mean=row, lat_stdev=np.full(1, 3.0), var_ratio=np.ones(1), random_stdevs=np.ones(1),
    )  # fmt: skip
    assert convert("--source=cache.npz", "--rows=6", "--outdir=cache")[0] == 0
    np.testing.assert_allclose(
        load_subspace("cache/subspace.npz").direction[0], 3 * row[0], rtol=1e-5
    )
    np.savez("cache_z.npz", lat_comp=row[None], lat_mean=0 * row, lat_stdev=np.ones(1))
    convert_fails(1, "holds components of Z", "--source=cache_z.npz")


def test_what_subspaces_of_w_cannot_hold(convert_fails):
    np.save("stylegan_ffhq_age_boundary.npy", np.eye(1, 512, dtype=np.float32))
    convert_fails(1, "is a boundary of Z by its name", "--source=stylegan_ffhq_age_boundary.npy")
    np.save("s.npy", np.ones((1, 9088), np.float32))
    convert_fails(1, "holds styles of StyleSpace", "--source=s.npy")
    layers = [np.ones((1, n), np.float32) for n in (*[512] * 9, 256, 128, 64, 32)]
    save("styles.pt", layers)
    convert_fails(1, "holds styles of StyleSpace", "--source=styles.pt")


def test_bad_files(convert_fails, state):
    weights, mean = state
    save("good.pt", {"g_ema": weights, "latent_avg": mean})
    good = Path("good.pt").read_bytes()
    Path("empty.pt").write_bytes(b"")
    Path("half.pt").write_bytes(good[: len(good) // 2])
    Path("text.pkl").write_text("this is no pickle")
    Path("code.pkl").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}).encode()
    Path("short.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    holey = {**weights, "conv1.activate.bias": weights["conv1.activate.bias"] * np.nan}
    save("nan.pt", {"g_ema": holey, "latent_avg": mean})
    save("keys.pt", {"g_ema": {**weights, "odd": mean, "even": mean}, "latent_avg": mean})
    save("third.pt", {"G_ema": {"synthesis.input.freqs": mean}})
    save("other.pt", {"model": {"layer.weight": mean}})
    np.save("square.npy", np.ones((512, 512), np.float32))
    for name, words in [
        ("empty.pt", ""),
        ("half.pt", ""),
        ("text.pkl", ""),
        ("code.pkl", ""),
        ("short.safetensors", ""),
        ("missing.pt", ""),
        ("nan.pt", ": rosinality generator: conv1.activate.bias holds NaN"),
        ("keys.pt", ": rosinality generator has keys that are not in its table: even, odd"),
        ("third.pt", ": holds a StyleGAN3 generator, which is not supported"),
        ("other.pt", ": is of no layout that is known; it holds model.layer.weight"),
        ("square.npy", ": is an array [512, 512] that may be 512 latents or 512 directions: add"),
    ]:
        convert_fails(1, f"{name}{words}", f"--source={name}")
    assert not Path("owned").exists()
    save("bare.pt", weights)
    convert_fails(1, "holds a single generator", "--source=bare.pt", "--network=G")
    convert_fails(1, "no g, only g_ema", "--source=good.pt", "--network=G")
    convert_fails(1, "cannot write", "--source=good.pt", "--outdir=empty.pt/out")


def test_bad_usage(convert_fails, generator_dir, state, tmp_path):
    save("x.pt", {"g_ema": state[0], "latent_avg": state[1]})
    for words, *args in [
        ("--source is missing",),
        ("layout", "--source=x.pt", "--layout=martian"),
        ("must be auto, none or a number", "--source=x.pt", "--conv_clamp=-1"),
        ("even number from 4 to 20", "--source=x.pt", "--rows=7"),
        ("goes the other way", f"--source={generator_dir}", "--to=nvlabs", "--verify=x.npz"),
        ("unknown generator", "--source=nobody", "--to=nvlabs"),
        ("takes no --format=pt", "--source=nobody", "--to=onnx", "--format=pt"),
        ("is for files", f"--source={tmp_path}", "--layout=nvlabs"),
        ("is for folders", "--source=x.pt", "--layout=clip"),
    ]:
        convert_fails(2, words, *args)
    convert_fails(1, "add --to", f"--source={generator_dir}")


def test_documented_commands_are_understood(call):
    known = {
        line.split()[0] for line in call("mm_convert", "--help")[1].splitlines() if "--" in line
    }
    text = (Path(__file__).resolve().parents[2] / "docs" / "weights.md").read_text()
    commands = re.findall(r"mm_convert (--[^`\n]*)", text)
    assert len(commands) > 12
    for command in commands:
        for word in shlex.split(command):
            assert word.split("=")[0] in known, command


def test_names_of_nvlabs_and_rosinality_differ_only_in_name(generator_dir):
    gen = load_generator(generator_dir)
    ours = nvlabs.params_to_nvlabs(gen.config, gen.params)
    theirs, _ = rosinality.params_to_rosinality(gen.config, gen.params)
    np.testing.assert_array_equal(
        theirs["convs.0.conv.weight"][0], ours["synthesis.b8.conv0.weight"]
    )
