"""CLIP folders: every layout of weights, and one clear line for each thing that can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import msgpack_serialize
from safetensors.numpy import load_file, save_file

from mm_jax.errors import DataError, UsageError
from mm_jax.perceptual import clip_files
from mm_jax.perceptual.clip import Clip, encode_image
from mm_jax.perceptual.clip_files import load_clip, save_clip
from tests.conftest import leaves


@pytest.fixture
def folder(tiny_clip_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_clip_dir, tmp_path / "clip"))


def assert_same(one: Any, other: Any) -> None:
    one, other = leaves(one), leaves(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_round_trip(tiny_clip: Clip, tiny_clip_dir: Path) -> None:
    loaded = load_clip(tiny_clip_dir)
    assert_same(loaded.params, tiny_clip.params)
    assert loaded.spec.tokenizer == tiny_clip.spec.tokenizer
    assert (loaded.spec.mean, loaded.spec.std) == (tiny_clip.spec.mean, tiny_clip.spec.std)
    assert loaded.name == str(tiny_clip_dir)
    assert (loaded.image_size, loaded.embed_dim) == (16, 24)


def test_two_loads_share_compiled_programs(tiny_clip_dir: Path) -> None:
    one, two = load_clip(tiny_clip_dir), load_clip(tiny_clip_dir)
    assert one.spec == two.spec and hash(one.spec) == hash(two.spec)
    assert one.spec.module is two.spec.module


def test_half_precision(tiny_clip: Clip, tmp_path: Path) -> None:
    loaded = load_clip(save_clip(tiny_clip, tmp_path / "half", dtype="float16"))
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.params)} == {np.dtype("float32")}
    np.testing.assert_allclose(
        encode_image(loaded, images), encode_image(tiny_clip, images), atol=5e-3
    )
    with pytest.raises(UsageError, match="float32 or float16, got 'int8'"):
        save_clip(tiny_clip, tmp_path / "int8", dtype="int8")
    assert not (tmp_path / "int8").exists()


def test_flax_msgpack(tiny_clip: Clip, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    params = jax.tree.map(np.asarray, tiny_clip.params)
    (folder / "flax_model.msgpack").write_bytes(msgpack_serialize(params))
    assert_same(load_clip(folder).params, tiny_clip.params)


def test_flax_named_safetensors(tiny_clip: Clip, folder: Path) -> None:
    save_file(leaves(tiny_clip.params), folder / "model.safetensors", {"format": "flax"})
    assert_same(load_clip(folder).params, tiny_clip.params)


def test_bfloat16_safetensors(tiny_clip: Clip, folder: Path) -> None:
    from safetensors.flax import save_file as save_flax

    half = {k: jnp.asarray(v, jnp.bfloat16) for k, v in leaves(tiny_clip.params).items()}
    save_flax(half, folder / "model.safetensors")
    assert_same(
        load_clip(folder).params,
        jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), tiny_clip.params),
    )


def test_shards_and_old_buffers(tiny_clip: Clip, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    tensors["text_model.embeddings.position_ids"] = np.arange(16)[None]
    table = {}
    for i in range(2):
        name = f"model-0000{i + 1}-of-00002.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[i::2]}
        save_file(part, folder / name)
        table |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    assert_same(load_clip(folder).params, tiny_clip.params)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        load_clip(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(DataError, match="has no weight_map"):
        load_clip(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "lacks config.json"),
        ("preprocessor_config.json", "lacks preprocessor_config.json"),
        ("tokenizer.json", "lacks tokenizer.json or vocab.json"),
        ("model.safetensors", r"lacks model.safetensors or flax_model.msgpack$"),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=message) as error:
        load_clip(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_torch_only_weights_are_explained(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"mm_convert --source=.* reads its pytorch_model\.bin"):
        load_clip(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"]
)
@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\x80\x04 rubbish"])
def test_a_corrupt_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load_clip(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\x93\x01\x02\x03", b"\xc1"])
def test_corrupt_msgpack(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "flax_model.msgpack").write_bytes(content)
    with pytest.raises(DataError, match=r"flax_model.msgpack"):
        load_clip(folder)


def spoil(folder: Path, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("logit_scale"), r"the weights lack logit_scale \[\]"),
        (lambda t: t.update(extra=np.zeros(3)), "hold extra, which the network does not know"),
        (
            lambda t: t.update({"visual_projection.weight": np.zeros((2, 32), np.float32)}),
            r"visual_projection.kernel must be \[32, 24\], got \[32, 2\]",
        ),
        (lambda t: t.update(logit_scale=np.array(np.nan, np.float32)), "holds NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(folder: Path, change: Any, message: str) -> None:
    spoil(folder, change)
    with pytest.raises(DataError, match=message):
        load_clip(folder)


def test_other_models_are_refused(folder: Path) -> None:
    rewrite(folder / "config.json", lambda config: config.update(model_type="siglip"))
    with pytest.raises(DataError, match="got 'siglip', which is not supported"):
        load_clip(folder)


def test_missing_pixel_statistics_are_refused(folder: Path) -> None:
    rewrite(folder / "preprocessor_config.json", lambda config: config.pop("image_std"))
    with pytest.raises(DataError, match=r"pixels' std must be three numbers, got \(\)"):
        load_clip(folder)


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="no-such-clip") as error:
        load_clip("no-such-clip")
    assert "\n" not in str(error.value)


def test_hub(tiny_clip: Clip, tiny_clip_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def cached_file(name: str, file: str, **options: bool) -> str | None:
        asked.append(file)
        path = tiny_clip_dir / file
        return str(path) if path.is_file() else None

    monkeypatch.setattr("transformers.utils.hub.cached_file", cached_file)
    monkeypatch.setattr(clip_files, "_is_near", lambda host, port: True)
    clip = load_clip("someone/tiny-clip")
    assert clip.name == "someone/tiny-clip"
    assert_same(clip.params, tiny_clip.params)
    assert "flax_model.msgpack" not in asked and "pytorch_model.bin" not in asked


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def cached_file(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to the hub\nto load the files.")

    monkeypatch.setattr("transformers.utils.hub.cached_file", cached_file)
    monkeypatch.setattr(clip_files, "_is_near", lambda host, port: True)
    with pytest.raises(DataError, match=r"neither a folder nor .* We couldn't connect to the hub$"):
        load_clip("someone/tiny-clip")


def test_no_network_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def cached_file(*_: Any, local_files_only: bool, **__: Any) -> None:
        asked.append(local_files_only)
        raise OSError("not in the cache")

    monkeypatch.setattr("transformers.utils.hub.cached_file", cached_file)
    monkeypatch.setattr(clip_files, "_is_near", lambda host, port: False)
    with pytest.raises(DataError, match=r"nor in the cache .* huggingface\.co cannot be reached"):
        load_clip("someone/tiny-clip")
    assert asked == [True]
