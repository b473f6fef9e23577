"""mm_convert end to end: folders that the other programs open, one line about bad files."""

import json
import re
import shlex
import struct
from pathlib import Path

import numpy as np
import pytest

from mm_jax import media
from mm_jax.artifacts import load_subspace
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
