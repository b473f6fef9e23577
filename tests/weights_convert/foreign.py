"""Foreign networks, small and random: states of IR-SE50's family, and what PyTorch makes of them.

The functions below run a state dict as the original modules are written: channels first, every
normalisation by itself, no constant folded into another. They share nothing with the package.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from weights_convert import face_api

State = dict[str, np.ndarray]

# (channels in, channels out, stride) of every unit: two stages of one unit, one of two.
UNITS = ((4, 4, 2), (4, 8, 2), (8, 12, 2), (12, 12, 1))
REDUCTION = 2
COARSE, MEDIUM = 3, 7


class Draw:
    """Random arrays that keep activations of moderate size."""

    def __init__(self, seed: int):
        self.random = np.random.RandomState(seed)

    def weight(self, *shape: int) -> np.ndarray:
        scale = np.sqrt(2.0 / np.prod(shape[1:]))
        return (scale * self.random.standard_normal(shape)).astype(np.float32)

    def bias(self, *shape: int) -> np.ndarray:
        return (0.3 * self.random.standard_normal(shape)).astype(np.float32)

    def norm(self, key: str, channels: int) -> State:
        return {
            f"{key}.weight": 1 + self.bias(channels),
            f"{key}.bias": self.bias(channels),
            f"{key}.running_mean": self.bias(channels),
            f"{key}.running_var": self.random.uniform(0.2, 2.0, channels).astype(np.float32),
            f"{key}.num_batches_tracked": np.array(7),
        }


def body_state(draw: Draw, *, in_channels: int = 3) -> State:
    state = {
        "input_layer.0.weight": draw.weight(4, in_channels, 3, 3),
        **draw.norm("input_layer.1", 4),
        "input_layer.2.weight": 0.25 + draw.bias(4),
    }
    for i, (before, channels, _) in enumerate(UNITS):
        key = f"body.{i}.res_layer"
        state |= {
            **draw.norm(f"{key}.0", before),
            f"{key}.1.weight": draw.weight(channels, before, 3, 3),
            f"{key}.2.weight": 0.25 + draw.bias(channels),
            f"{key}.3.weight": draw.weight(channels, channels, 3, 3),
            **draw.norm(f"{key}.4", channels),
            f"{key}.5.fc1.weight": draw.weight(channels // REDUCTION, channels, 1, 1),
            f"{key}.5.fc2.weight": draw.weight(channels, channels // REDUCTION, 1, 1),
        }
        if before != channels:
            state[f"body.{i}.shortcut_layer.0.weight"] = draw.weight(channels, before, 1, 1)
            state |= draw.norm(f"body.{i}.shortcut_layer.1", channels)
    return state


def arcface_state(seed: int = 0, *, side: int = 2, embedding: int = 5) -> State:
    """A face recogniser of crops of 8 * side pixels."""
    draw = Draw(seed)
    return {
        **body_state(draw),
        **draw.norm("output_layer.0", 12),
        "output_layer.3.weight": draw.weight(embedding, 12 * side * side),
        "output_layer.3.bias": draw.bias(embedding),
        **draw.norm("output_layer.4", embedding),
    }


def face_api_state(network: str) -> State:
    """Zeros by the names of one of face-api's networks."""
    table = face_api.table_of(network)
    return {
        row.key: np.zeros(
            (1,) * row.leading + table.shapes[row.path].shape + (1,) * row.trailing, np.float32
        )
        for row in table.rows
    }


def encoder_state(
    seed: int = 0, *, restyle: bool, rows: int = 8, width: int = 6, side: int = 2
) -> State:
    """An encoder of pictures of 8 * side pixels."""
    draw = Draw(seed)
    state = body_state(draw, in_channels=6 if restyle else 3)
    if not restyle:
        for name, channels in (("latlayer1", 8), ("latlayer2", 4)):
            state |= {
                f"{name}.weight": draw.weight(12, channels, 1, 1),
                f"{name}.bias": draw.bias(12),
            }
    for row in range(rows):
        convs = side.bit_length() - 1
        convs += 0 if restyle or row < COARSE else 1 if row < MEDIUM else 2
        for j in range(convs):
            key = f"styles.{row}.convs.{2 * j}"
            state[f"{key}.weight"] = draw.weight(width, width if j else 12, 3, 3)
            state[f"{key}.bias"] = draw.bias(width)
        state[f"styles.{row}.linear.weight"] = draw.random.standard_normal((width, width)).astype(
            np.float32
        )
        state[f"styles.{row}.linear.bias"] = draw.bias(width)
    return state


def conv(x, weight, bias=None, *, stride=1, padding=1):
    sides = [(padding, padding)] * 2
    y = lax.conv_general_dilated(
        x, weight, (stride, stride), sides, dimension_numbers=("NCHW", "OIHW", "NCHW")
    )
    return y if bias is None else y + bias[None, :, None, None]


def norm(state: State, key: str, x):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    weight, bias, mean, var = (
        state[f"{key}.{name}"].reshape(shape)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / jnp.sqrt(var + 1e-5) * weight + bias


def prelu(x, slope):
    return jnp.where(x >= 0, x, slope[None, :, None, None] * x)


def run_body(state: State, x) -> list[jax.Array]:
    """[N, C, H, W] to the features after every unit."""
    x = norm(state, "input_layer.1", conv(x, state["input_layer.0.weight"]))
    x = prelu(x, state["input_layer.2.weight"])
    after = []
    for i, (before, channels, stride) in enumerate(UNITS):
        key = f"body.{i}.res_layer"
        y = conv(norm(state, f"{key}.0", x), state[f"{key}.1.weight"])
        y = conv(prelu(y, state[f"{key}.2.weight"]), state[f"{key}.3.weight"], stride=stride)
        y = norm(state, f"{key}.4", y)
        gate = conv(y.mean((2, 3), keepdims=True), state[f"{key}.5.fc1.weight"], padding=0)
        gate = conv(jnp.maximum(gate, 0), state[f"{key}.5.fc2.weight"], padding=0)
        if before == channels:
            x = x[:, :, ::stride, ::stride]
        else:
            key = f"body.{i}.shortcut_layer"
            x = conv(x, state[f"{key}.0.weight"], stride=stride, padding=0)
            x = norm(state, f"{key}.1", x)
        x = y * jax.nn.sigmoid(gate) + x
        after.append(x)
    return after


def run_arcface(state: State, crops) -> jax.Array:
    """Crops [N, C, H, W] to unit vectors."""
    x = norm(state, "output_layer.0", run_body(state, crops)[-1])
    x = x.reshape(len(x), -1) @ state["output_layer.3.weight"].T
    x = norm(state, "output_layer.4", x + state["output_layer.3.bias"][None])
    return x / jnp.sqrt(jnp.sum(x**2, axis=1, keepdims=True))


def enlarged(x) -> jax.Array:
    """Twice the size, bilinear, corners on corners."""
    source = x.shape[2]
    places = np.arange(2 * source) * (source - 1) / (2 * source - 1)
    weights = np.stack([np.interp(places, np.arange(source), row) for row in np.eye(source)])
    return jnp.einsum("st,uv,ncsu->nctv", weights, weights, x)


@functools.partial(jax.jit, static_argnames=("restyle", "deltas", "rows"))
def run_encoder(state: State, x, *, restyle: bool, deltas: bool, rows: int) -> jax.Array:
    """Pictures [N, C, H, W] to rows [N, L, D]."""
    after = run_body(state, x)
    maps = [after[-1]]
    if not restyle:
        for name, features in (("latlayer1", after[1]), ("latlayer2", after[0])):
            lateral = conv(features, state[f"{name}.weight"], state[f"{name}.bias"], padding=0)
            maps.append(enlarged(maps[-1]) + lateral)
    codes = []
    for row in range(rows):
        y = maps[0 if restyle or row < COARSE else 1 if row < MEDIUM else 2]
        j = 0
        while (key := f"styles.{row}.convs.{2 * j}.weight") in state:
            y = conv(y, state[key], state[key.replace("weight", "bias")], stride=2)
            y = jnp.where(y >= 0, y, 0.01 * y)
            j += 1
        assert y.shape[2:] == (1, 1)
        weight = state[f"styles.{row}.linear.weight"]
        y = y[:, :, 0, 0] @ weight.T / len(weight) ** 0.5
        code = y + state[f"styles.{row}.linear.bias"][None]
        codes.append(code + codes[0] if deltas and row else code)
    return jnp.stack(codes, axis=1)
