"""ONNX files of generators, run by ONNX Runtime and compared with JAX."""

from __future__ import annotations

import dataclasses
import sys

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from mm_jax.checkpoints import save_generator
from mm_jax.errors import DataError, UsageError
from mm_jax.latents import synthesize
from mm_jax.live import onnx_graph
from mm_jax.live.onnx_graph import OPSET, TOLERANCE, model_of, parity, write_onnx
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator

PLAIN = {
    "Add", "Cast", "Clip", "Conv", "ConvTranspose", "Div", "Gather", "Gemm", "Identity",
    "LeakyRelu", "Mul", "ReduceSum", "Sqrt", "Unsqueeze",
}  # fmt: skip


def with_strength(params, strength):
    """The parameters with another strength of all noise."""

    def changed(path, leaf):
        named = jax.tree_util.keystr(path, simple=True)
        return np.float32(strength) if named.endswith("noise_strength") else leaf

    return jax.tree_util.tree_map_with_path(changed, params)


def variant(gen, *, half=False, strength=None, **changes):
    """A generator with other parameters or another configuration."""
    params = gen.params
    if half:
        params = jax.tree.map(lambda x: np.float32(np.float16(x)), params)
    if strength is not None:
        params = with_strength(params, strength)
    return make_generator(dataclasses.replace(gen.config, **changes), params, meta=gen.meta)


VARIANTS = {
    "float32": {},
    "float16": {"half": True},
    "without noise": {"strength": 0.0},
    "clamped": {"conv_clamp": 0.75},
}


def run(path, ws):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"ws": ws})[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_images_are_those_of_jax(random_generator, tmp_path, name):
    gen = variant(random_generator, **VARIANTS[name])
    path, error = write_onnx(gen, tmp_path)
    assert path.name == "generator.onnx" and error <= TOLERANCE
    ws = np.random.RandomState(1).randn(3, gen.config.num_ws, gen.config.w_dim).astype(np.float32)
    wanted = np.asarray(synthesize(gen, ws))
    assert np.abs(wanted).max() > 0.3
    found = run(path, ws)
    assert found.shape == (3, 3, 16, 16) and found.dtype == np.float32
    assert np.abs(found.transpose(0, 2, 3, 1) - wanted).max() <= TOLERANCE
    one = run(path, ws[1:2])
    np.testing.assert_allclose(one, found[1:2], atol=1e-4)


def test_variants_differ(random_generator, tmp_path):
    """Noise and clamp change the image by far more than what parity allows."""
    path, _ = write_onnx(random_generator, tmp_path)
    for name in ("without noise", "clamped"):
        assert parity(variant(random_generator, **VARIANTS[name]), path) > 10 * TOLERANCE


def test_a_conditional_generator_and_gray_images(tmp_path):
    config = GeneratorConfig(
        resolution=8, z_dim=5, w_dim=6, c_dim=3, mapping_layers=1, channels=(4, 6), img_channels=1
    )
    random = np.random.RandomState(3)
    shapes = Generator.shapes(config)
    params = jax.tree.map(lambda x: random.standard_normal(x.shape).astype(np.float32), shapes)
    path, error = write_onnx(make_generator(config, params), tmp_path)
    assert error <= TOLERANCE
    assert run(path, np.zeros((2, config.num_ws, 6), np.float32)).shape == (2, 1, 8, 8)


def test_it_is_plain_onnx_with_its_source(random_generator):
    model = model_of(random_generator)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert {node.op_type for node in model.graph.node} <= PLAIN
    told = {one.key: one.value for one in model.metadata_props}
    assert told["generator_fingerprint"] == random_generator.fingerprint
    assert model.graph.input[0].name == "ws" and model.graph.output[0].name == "image"


def test_values_are_stored_as_float16_where_that_loses_nothing(random_generator, tmp_path):
    def types(gen):
        stored = model_of(gen).graph.initializer
        return {
            one.name: one.data_type for one in stored if onnx.numpy_helper.to_array(one).size > 1
        }

    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    rounded = types(variant(random_generator, half=True))
    assert rounded["b8.conv0.kernel/float16"] == half and full not in rounded.values()
    exact = types(random_generator)
    assert exact["b8.conv0.kernel"] == full
    # A value beyond float16 alone makes its array float32.
    large = variant(random_generator, half=True)
    large.params["synthesis"]["b4"]["const"][0, 0, 0] = 1e6
    assert types(large)["b4.const"] == full


def test_the_file_is_about_as_large_as_ours(tmp_path):
    config = GeneratorConfig(
        resolution=32, z_dim=8, w_dim=64, mapping_layers=1, channels=(64, 64, 48, 48)
    )
    random = np.random.RandomState(0)

    def draw(leaf):
        return np.float32(random.standard_normal(leaf.shape).astype(np.float16))

    gen = make_generator(config, jax.tree.map(draw, Generator.shapes(config)))
    ours = save_generator(gen, tmp_path / "ours", format="safetensors", dtype="float16")
    path, _ = write_onnx(gen, tmp_path)
    size = (ours / "params.safetensors").stat().st_size
    assert 0.9 * size < path.stat().st_size < 1.1 * size


def test_a_file_of_other_images_is_refused(random_generator, tmp_path, monkeypatch):
    other = model_of(variant(random_generator, strength=0.0))
    monkeypatch.setattr(onnx_graph, "model_of", lambda gen: other)
    with pytest.raises(DataError, match=r"generator.onnx differs from the generator by \d"):
        write_onnx(random_generator, tmp_path)


def test_a_file_that_does_not_open_is_refused(random_generator, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(DataError, match="ONNX Runtime refuses it"):
        parity(random_generator, tmp_path / "bad.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra_it_says_how_to_install_it(
    random_generator, tmp_path, monkeypatch, missing
):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=r"needs the extra onnx: .*pip install 'mm-jax\[onnx\]'"):
        write_onnx(random_generator, tmp_path)
