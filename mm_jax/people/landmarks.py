"""Which points of the skin are the 68 landmarks of iBUG, the order that dlib's predictor uses.

Each is the vertex whose rest position is nearest to one given here, in decimetres; they were chosen
on the base mesh from in front. Points stay with the skin when the head turns: those of the jaw do
not slide along its outline as a detector's do.
"""

from __future__ import annotations

import numpy as np

__all__ = ["REST_LANDMARKS"]

# The image's right half, and the middle.
_RIGHT = {
    # jaw, from the chin to the ear
    8: (0.000, 6.191, 1.416),
    9: (0.148, 6.219, 1.383),
    10: (0.287, 6.297, 1.277),
    11: (0.430, 6.418, 1.123),
    12: (0.546, 6.556, 0.939),
    13: (0.615, 6.713, 0.872),
    14: (0.692, 6.879, 0.641),
    15: (0.725, 7.076, 0.624),
    16: (0.746, 7.249, 0.609),
    # brow, outwards
    22: (0.113, 7.488, 1.507),
    23: (0.247, 7.532, 1.467),
    24: (0.338, 7.540, 1.423),
    25: (0.458, 7.501, 1.344),
    26: (0.573, 7.435, 1.208),
    # nose: bridge downwards, then its wings
    27: (0.000, 7.291, 1.507),
    28: (0.000, 7.170, 1.546),
    29: (0.000, 7.066, 1.605),
    30: (0.000, 6.940, 1.677),
    33: (0.000, 6.828, 1.604),
    34: (0.057, 6.841, 1.571),
    35: (0.129, 6.870, 1.568),
    # eye: inner corner, upper lid, outer corner, lower lid
    42: (0.199, 7.286, 1.384),
    43: (0.270, 7.329, 1.407),
    44: (0.366, 7.331, 1.404),
    45: (0.440, 7.291, 1.360),
    46: (0.369, 7.244, 1.394),
    47: (0.293, 7.238, 1.401),
    # outline of the lips: above, corner, below
    51: (0.000, 6.690, 1.599),
    52: (0.067, 6.701, 1.592),
    53: (0.160, 6.677, 1.538),
    54: (0.253, 6.613, 1.426),
    55: (0.184, 6.542, 1.473),
    56: (0.093, 6.497, 1.515),
    57: (0.000, 6.494, 1.549),
    # where the lips meet: upper lip, corner, lower lip
    62: (0.000, 6.612, 1.550),
    63: (0.101, 6.618, 1.541),
    64: (0.227, 6.615, 1.446),
    65: (0.114, 6.593, 1.516),
    66: (0.000, 6.595, 1.544),
}
# Landmarks of the left half, and whose mirror images they are.
_LEFT = {
    **{16 - k: k for k in range(9, 17)},
    **{43 - k: k for k in range(22, 27)},
    **{66 - k: k for k in (34, 35)},
    **{81 - k: k for k in range(42, 46)},  # upper lid and corners
    **{87 - k: k for k in (46, 47)},  # lower lid
    **{102 - k: k for k in range(52, 55)},
    **{114 - k: k for k in (55, 56)},
    **{124 - k: k for k in (63, 64)},
    67: 65,
}


def _table() -> np.ndarray:
    left = {k: (-_RIGHT[m][0], *_RIGHT[m][1:]) for k, m in _LEFT.items()}
    both = _RIGHT | left
    return np.array([both[k] for k in range(68)])


#: ``[68, 3]`` rest positions.
REST_LANDMARKS = _table()
