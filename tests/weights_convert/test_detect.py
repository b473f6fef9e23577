"""Files are told apart by their keys, and relatives that are not supported are named."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from mm_jax.errors import DataError
from weights_convert.detect import BY_NAME, REFUSED, detect
from weights_convert.options import LAYOUTS
from weights_convert.plan import Request
from weights_convert.readers import OpaqueObject, PersistentObject

ONE = np.ones(1, np.float32)


def open_with(content, **request):
    name, layout, _ = detect(content)
    return name, layout.plan(content, Request(**request))


def test_flags_name_every_layout():
    assert set(LAYOUTS) == {*BY_NAME, "clip"}


def test_rosinality_of_every_age(states, same):
    state = dict(states["rosinality"])
    mean = state.pop("latent_avg")
    args = OpaqueObject("argparse", "Namespace", (), {"size": 16})
    optimizer = {"state": {0: {"step": 1}}, "param_groups": []}
    training = {"g": state, "d": {"x": ONE}, "g_ema": state, "args": args, "g_optim": optimizer}
    for content in (
        {"g_ema": state, "latent_avg": mean},
        {"g": {}, "g_ema": state, "latent_avg": mean[None]},
        {**state, "latent_avg": mean},
    ):
        name, plan = open_with(content)
        assert name == "rosinality"
        same(plan.parts[0].build())
    name, plan = open_with(training, network="G")
    assert "left aside: args, d, g_ema, g_optim" in plan.notes
    assert any("no latent_avg" in note for note in plan.notes)
    gen = plan.parts[0].build()
    assert np.abs(gen.params["mapping"]["w_avg"] - mean).max() > 0.1
    del training["g"]
    with pytest.raises(DataError, match="holds no g, only g_ema"):
        open_with(training, network="G")


def test_nvlabs_pickles_and_state_dicts(states, same, module_of, random_generator):
    state = states["nvlabs"]
    clamped = dataclasses.replace(random_generator.config, conv_clamp=256.0)
    pickled = {
        "G": module_of({"mapping.w_avg": ONE}),
        "D": module_of({"b4.conv.weight": ONE}),
        "G_ema": module_of(state, clamp=256),
        "augment_pipe": None,
        "training_set_kwargs": {"path": "x"},
    }
    name, plan = open_with(pickled)
    assert name == "nvlabs"
    assert plan.notes == ("left aside: D, G, training_set_kwargs",)
    assert plan.parts[0].metadata["conv_clamp"] == 256
    same(plan.parts[0].build(), clamped)
    same(open_with(module_of(state))[1].parts[0].build())
    slow = dataclasses.replace(random_generator.config, mapping_lr_multiplier=0.1)
    same(open_with(module_of(state, multiplier=np.float64(0.1)))[1].parts[0].build(), slow)
    with pytest.raises(DataError, match="--conv_clamp"):
        open_with(state)
    same(open_with(state, conv_clamp=None)[1].parts[0].build())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"synthesis.b8": {"architecture": "resnet"}}, "architecture 'resnet'"),
        ({"synthesis.b8.conv1": {"activation": "relu"}}, "activation 'relu'"),
        ({"synthesis.b8.conv1": {"use_noise": False}}, "use_noise False"),
        ({"synthesis.b8.conv1": {"conv_clamp": 256}}, "differ in their conv_clamp"),
        ({"mapping.fc1": {"bias_gain": 0.1}}, "differ in their learning-rate"),
    ],
)
def test_modules_that_compute_something_else(states, module_of, change, words):
    with pytest.raises(DataError, match=words):
        open_with({"G_ema": module_of(states["nvlabs"], change=change)})


def test_tensorflow(states, same, network_of):
    state = {**states["tensorflow"], "lod": np.float32(0)}
    networks = (network_of({}), network_of({}), network_of(state, arguments={"fmap_base": 8192}))
    name, plan = open_with(networks)
    assert name == "tensorflow"
    same(plan.parts[0].build(), tolerance=1e-6)
    same(open_with(network_of(state))[1].parts[0].build(), tolerance=1e-6)


def test_refused_by_name(states, network_of, module_of):
    nvlabs, tensorflow = states["nvlabs"], states["tensorflow"]
    last = max(int(m[1]) for k in nvlabs if (m := re.match(r"synthesis\.b(\d+)\.", k)))
    named = set()
    orig = {k: v for k, v in nvlabs.items() if "torgb" not in k or f"b{last}." in k}
    for content, words in [
        ({"G_ema": module_of({"synthesis.L0_36_512.bias": ONE})}, "StyleGAN3"),
        (
            {"G_ema": {"synthesis.input.freqs": ONE, "mapping.embed_proj.weight": ONE}},
            "StyleGAN-XL",
        ),
        ({"GAN": {"G.blocks.0.to_style1.weight": ONE}}, "lucidrains"),
        ({"params_ema": {"style_conv1.modulated_conv.weight": ONE}}, "GFPGAN"),
        ({"generator_ema": {"constant_input.const": ONE, "style_mapping.1.w": ONE}}, "MMG"),
        ({"G_ema": {"backbone.synthesis.b4.const": ONE}}, "EG3D"),
        ({"state_dict": {"pretrained_encoder.body.0.w": ONE}}, "SAM"),
        ({"visual.trunk.blocks.0.norm1.weight": ONE}, "SigLIP"),
        ({"synthesis.input.freqs": ONE}, "StyleGAN3"),
        ({"g_running": {"generator.progression.0.conv1.x": ONE}}, "the first version"),
        (network_of({"synthesis/4x4/Const/StyleMod/weight": ONE}), "the first version"),
        (network_of({**tensorflow, "synthesis/ToRGB_lod0/weight": ONE}), "configurations a to d"),
        ({"G_ema": module_of({**nvlabs, "synthesis.b8.skip.weight": ONE})}, "resnet"),
        (network_of({**tensorflow, "synthesis/8x8/Skip/weight": ONE}), "resnet"),
        ({"G": module_of(orig)}, "orig architecture"),
        (network_of({**tensorflow, "mapping/LabelConcat/weight": ONE}), "not embedded"),
        ({"state_dict": {"hypernet.input_layer.0.weight": ONE}}, "HyperStyle"),
        ({"state_dict": {"encoder.conv1.weight": ONE, "encoder.bn1.weight": ONE}}, "ResNet34"),
        ({"state_dict": {"mapper.course_mapping.1.weight": ONE}}, "StyleCLIP mapper"),
        (
            {"visual": {"layer1": [{"conv1.weight": ONE}], "attnpool.positional_embedding": ONE}},
            "CLIP with a ResNet",
        ),
        ({"features.0.weight": ONE, "classifier.6.weight": ONE}, "classifier of torchvision"),
    ]:
        with pytest.raises(
            DataError, match=f"holds a .*{words}.*, which is not supported"
        ) as caught:
            detect(content)
        named.add(
            str(caught.value).removeprefix("holds a ").removesuffix(", which is not supported")
        )
    assert named == {signature.what for signature in REFUSED}


def test_generators_of_pictures_that_are_not_square(states):
    for layout, key in (("nvlabs", "synthesis.b4.const"), ("rosinality", "input.input")):
        state = {**states[layout], key: states[layout][key][..., :2]}
        with pytest.raises(DataError, match=r"not square, 4 by 2 .*StyleGAN-Human"):
            open_with(state, conv_clamp=None)


def test_a_single_network_leaves_no_choice(states, module_of, network_of):
    for content in (
        states["rosinality"],
        states["nvlabs"],
        module_of(states["nvlabs"]),
        network_of(states["tensorflow"]),
    ):
        with pytest.raises(DataError, match="single generator, so there is no --network=G"):
            open_with(content, network="G", conv_clamp=None)


def test_unknown_files_are_described():
    with pytest.raises(DataError, match=r"it holds model\.bias, model\.weight"):
        detect({"model": {"weight": ONE, "bias": ONE}})
    with pytest.raises(DataError, match="nothing that has a name"):
        detect({})
    shell = PersistentObject("Generator", 6, None, {"_modules": {}})
    with pytest.raises(DataError, match="G_ema is a module without parameters"):
        detect({"G_ema": shell})


@pytest.mark.parametrize("layout", ["nvlabs", "rosinality", "tensorflow"])
def test_every_stray_key_is_named(layout, states, network_of):
    state = dict(states[layout])
    gone = sorted(key for key in state if "noise_strength" in key or "noise.weight" in key)
    for key in gone:
        del state[key]
    state["extra.one"] = state["extra.two"] = ONE
    content = network_of({k.replace("extra.", "synthesis/"): v for k, v in state.items()})
    content = content if layout == "tensorflow" else state
    with pytest.raises(DataError) as caught:
        open_with(content, conv_clamp=None)
    assert all(key in str(caught.value) for key in gone)
    assert "one" in str(caught.value) and "two" in str(caught.value)


def test_content_of_other_kinds_is_refused(states):
    for content, words in [
        ({"g_ema": {**states["rosinality"], "input.input": "text"}}, "must be an array"),
        ({"g_ema": [ONE]}, "no layout"),
        (dict(states["nvlabs"], **{"synthesis.b4.const": None}), "no layout"),
    ]:
        with pytest.raises(DataError, match=words):
            open_with(content)
    for name in LAYOUTS:
        if name != "clip":
            with pytest.raises(DataError):
                detect("text", name)[1].plan("text", Request()).parts[0].build()
