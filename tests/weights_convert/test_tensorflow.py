"""TensorFlow's layout against NVlabs' numbers, by names and axes written down once more."""

from __future__ import annotations

import re

import jax
import numpy as np
import pytest

from mm_jax.errors import DataError
from mm_jax.latents import skip_images
from weights_convert import nvlabs
from weights_convert.plan import Request
from weights_convert.tensorflow import LAYOUT


def as_tensorflow(state):
    """The variables that NVlabs' PyTorch state dict came from, by the rule of its own converter."""
    variables = {}
    for key, value in state.items():
        if key == "mapping.w_avg":
            variables["dlatent_avg"] = value
        elif match := re.fullmatch(r"mapping\.(?:fc(\d)|(embed))\.(weight|bias)", key):
            name = "LabelEmbed" if match[2] else f"Dense{match[1]}"
            variables[f"mapping/{name}/{match[3]}"] = value.T
        elif key == "synthesis.b4.const":
            variables["synthesis/4x4/Const/const"] = value[None]
        elif match := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.*)", key):
            r, layer, leaf = int(match[1]), match[2], match[3]
            scope = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB"}[layer]
            scope = f"synthesis/{r}x{r}/{'Conv' if (r, layer) == (4, 'conv1') else scope}"
            if leaf == "weight":
                value = value.transpose(2, 3, 1, 0)
                variables[f"{scope}/weight"] = value[::-1, ::-1] if layer == "conv0" else value
            elif leaf == "affine.weight":
                variables[f"{scope}/mod_weight"] = value.T
            elif leaf == "affine.bias":
                variables[f"{scope}/mod_bias"] = value - 1
            elif leaf == "noise_const":
                index = 2 * int(np.log2(r)) - {"conv0": 5, "conv1": 4}[layer]
                variables[f"synthesis/noise{index}"] = value[None, None]
            elif leaf != "resample_filter":
                variables[f"{scope}/{leaf}"] = value
    return variables


@pytest.mark.parametrize("variant", ["cond5", "clamp256"])
def test_same_parameters_as_from_pytorch(variant, goldens, rule, network_of):
    state = rule.weights(goldens / "nvlabs" / variant / "manifest.json", "G_ema.")
    arguments = {"label_size": 5, "conv_clamp": 256, "fmap_base": 16384, "latent_size": 512}
    network = network_of(as_tensorflow(state), arguments=arguments)
    gen = LAYOUT.plan(network, Request()).parts[0].build()
    config, wanted = nvlabs.params_from_nvlabs(state, conv_clamp=256.0)
    assert gen.config == config
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), gen.params, wanted)


def test_pictures_are_those_of_the_original(goldens, rule, network_of):
    state = rule.weights(goldens / "nvlabs" / "uncond" / "manifest.json", "G_ema.")
    gen = LAYOUT.plan(network_of(as_tensorflow(state)), Request()).parts[0].build()
    with np.load(goldens / "nvlabs" / "uncond" / "expected.npz") as expected:
        wplus, wanted = expected["in_wplus"], expected["image_wplus_const"]
    with jax.default_matmul_precision("highest"):
        picture = skip_images(gen, wplus)[64]
    error = np.abs(np.moveaxis(np.asarray(picture), -1, 1) - wanted).max() / np.abs(wanted).max()
    assert error < 1e-4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"nonlinearity": "relu"}, "nonlinearity 'relu'"),
        ({"resample_kernel": [1, 2, 1]}, "resample_kernel"),
        ({"architecture": "orig"}, "architecture 'orig'"),
        ({"synthesis_func": "G_synthesis_stylegan_revised"}, "synthesis_func"),
        ({"init_res": [6, 4]}, "not known: init_res"),
    ],
)
def test_arguments_that_change_the_pictures(arguments, words, states, network_of):
    network = network_of(states["tensorflow"], arguments=arguments)
    with pytest.raises(DataError, match=words):
        LAYOUT.plan(network, Request())


def test_which_network(states, network_of, same):
    other = {**states["tensorflow"], "lod": np.float32(3)}
    networks = [network_of(other), network_of({}), network_of(states["tensorflow"])]
    same(LAYOUT.plan(networks, Request()).parts[0].build(), tolerance=1e-6)
    with pytest.raises(DataError, match="lod"):
        LAYOUT.plan(networks, Request(network="G"))
    with pytest.raises(DataError, match="three networks"):
        LAYOUT.plan(networks[:2], Request())
