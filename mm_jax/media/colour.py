"""High dynamic range, as telephones record it, to the colours of ordinary screens.

ITU-R BT.2100 defines the two signals: HLG, and PQ (HDR10). A highlight there is up to ten times as
bright as white paper; it is rolled off as Report ITU-R BT.2390 describes (section 5.4.1, "EETF")
for a screen of 100 cd/m2, and the wide primaries of BT.2020 become those of BT.709.
"""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["HLG", "PQ", "cube_file", "to_screen"]

# The names of transfers in ISO/IEC 23091-2, as streams hold them.
PQ, HLG = 16, 18

# The brightest that is mastered, and the screen's white, in cd/m2.
_PEAK, _SCREEN = 1000.0, 100.0
# Gamma of ordinary screens (ITU-R BT.1886).
_GAMMA = 2.4
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])
_CUBE_SIDE = 33


def to_screen(signal: np.ndarray, transfer: int) -> np.ndarray:
    """R'G'B' of BT.2020 in [0, 1], [..., 3], to R'G'B' of BT.709 in [0, 1].

    Args:
        signal: the colours.
        transfer: `HLG` or `PQ`; what else there is counts as an ordinary screen's gamma, of which
            only the primaries are changed.
    """
    signal = np.clip(np.asarray(signal, np.float64), 0.0, 1.0)
    if transfer == HLG:
        scene = _hlg_inverse(signal)
        # The system gamma of 1.2 holds for a screen of 1000 cd/m2.
        light = _PEAK * scene * np.power(scene @ _LUMA_2020, 0.2)[..., None]
    elif transfer == PQ:
        light = np.minimum(_pq_inverse(signal), _PEAK)
    else:
        light = _SCREEN * np.power(signal, _GAMMA)
    light = np.maximum(light @ _TO_709.T, 0.0)
    if transfer in (HLG, PQ):
        brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
        light = light * (_rolled_off(brightest) / brightest)
    return np.power(np.clip(light / _SCREEN, 0.0, 1.0), 1.0 / _GAMMA)


@functools.cache
def cube_file(transfer: int) -> str:
    """`to_screen` as the text of a .cube file, a table that video filters interpolate in."""
    axis = np.linspace(0.0, 1.0, _CUBE_SIDE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red runs fastest
    table = to_screen(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer)
    rows = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in table)
    return f"LUT_3D_SIZE {_CUBE_SIDE}\n{rows}\n"


def _hlg_inverse(signal: np.ndarray) -> np.ndarray:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3.0, (np.exp((signal - c) / a) + b) / 12.0)


def _pq_inverse(signal: np.ndarray) -> np.ndarray:
    """Signal in [0, 1] to light in cd/m2."""
    root = np.power(signal, 32 / 2523)
    ratio = np.maximum(root - 3424 / 4096, 0.0) / (2413 / 128 - 2392 / 128 * root)
    return 10000.0 * np.power(ratio, 8192 / 1305)


def _pq(light: np.ndarray) -> np.ndarray:
    power = np.power(light / 10000.0, 1305 / 8192)
    return np.power((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power), 2523 / 32)


def _rolled_off(light: np.ndarray) -> np.ndarray:
    """Light up to `_PEAK` to light up to `_SCREEN`: unchanged at first, then a Hermite spline."""
    peak = _pq(np.array(_PEAK))
    max_value = _pq(np.array(_SCREEN)) / peak
    knee = 1.5 * max_value - 0.5
    value = _pq(np.minimum(light, _PEAK)) / peak
    t = np.clip((value - knee) / (1.0 - knee), 0.0, 1.0)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1.0 - knee)
        + (3 * t**2 - 2 * t**3) * max_value
    )
    return _pq_inverse(np.where(value < knee, value, spline) * peak)
