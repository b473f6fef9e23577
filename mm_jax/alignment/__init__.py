"""From an image with a face in it to the crop that a generator knows, and back into the image.

    face = max(find_faces(image), key=lambda face: face.area)
    quad = framing_of(gen).apply(ffhq_quad(face.landmarks))
    crop = crop_face(image, quad, size=256)                   # [256, 256, 3] in [-1, 1]
    whole = paste_face(image, edited, quad, original=crop)    # as large as the image

A quad [4, 2] holds the corners of a crop in the image: top left, bottom left, bottom right, top
right. Landmarks and quads are in pixels, x to the right and y down, and (0, 0) is the middle of the
top left pixel. Everything runs on the host in NumPy and Pillow; nothing imports JAX.
"""

from etils import epy

__all__ = [
    "FFHQ",
    "Face",
    "Framing",
    "crop_face",
    "ffhq_quad",
    "find_faces",
    "five_points",
    "framing_of",
    "load_landmarks",
    "open_detector",
    "paste_face",
]

with epy.lazy_api_imports(globals()):
    from mm_jax.alignment.face import Face, ffhq_quad, five_points
    from mm_jax.alignment.find import find_faces, open_detector
    from mm_jax.alignment.framing import FFHQ, Framing, framing_of
    from mm_jax.alignment.landmark_files import load_landmarks
    from mm_jax.alignment.warp import crop_face, paste_face
