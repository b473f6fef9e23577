"""Networks that know real faces: detectors, landmarks, identity, expressions, age.

    net = load_face_network("faces/landmarks")
    points = net(images)                       # [N, 112, 112, 3] in [-1, 1] -> [N, 68, 2]

They were trained by the authors of face-api.js and of dlib; `assets/faces/MODEL_CARD.md` says on
what, and where they fail.
"""

from __future__ import annotations

from mm_jax.faces.detection import FaceDetector
from mm_jax.faces.network import FaceNetwork, FaceNetworkConfig, apply_network, load_face_network
from mm_jax.faces.readings import FaceReader, Readings, Recogniser, identity_distance

__all__ = [
    "FaceDetector",
    "FaceNetwork",
    "FaceNetworkConfig",
    "FaceReader",
    "Readings",
    "Recogniser",
    "apply_network",
    "identity_distance",
    "load_face_network",
]
