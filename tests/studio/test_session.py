"""Sessions without any page: pictures, cache, faces, files, commands."""

from __future__ import annotations

import dataclasses
import gc
import io
import json
import shutil
import time
import weakref
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from mm_jax import media
from mm_jax.artifacts import load_latents, load_subspace, save_subspace
from mm_jax.errors import DataError, UsageError
from mm_jax.inversion.judge import Likeness
from mm_jax.inversion.options import InvertOptions
from mm_jax.latents import mean_latent
from mm_jax.studio import exports, learn, photos, session_files, tuned
from mm_jax.studio.document import SHEET, Document, Face, Photo, faces_to_ws
from mm_jax.studio.frames import Cache, draw, pasted, pictures
from mm_jax.studio.images import jpeg
from mm_jax.studio.session import Session, Studio
from mm_jax.studio.world import Worlds, file_motion
from mm_jax.stylegan2.config import GeneratorConfig
from mm_jax.stylegan2.generator import Generator, make_generator
from mm_jax.stylegan2.networks import init_params
from mm_jax.subspace.calibration import Calibration
from tests.studio.conftest import CALIBRATION, D, L


def wait_for(frames, found, timeout=60.0):
    """Wait until a frame fits; returns it."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for frame in list(frames):
            if found(frame):
                return frame
        time.sleep(0.005)
    raise AssertionError(f"no such frame among {[(f.kind, f.seq) for f in frames]}")


def test_a_session_begins_with_a_face_and_all_motions(session):
    assert [motion.name for motion in session.document.motions] == ["smile", "beard"]
    assert session.document.face.source["kind"] == "seed"
    assert not session.history.can_undo


def test_the_last_move_is_shown_and_stale_ones_are_not(session, frames):
    for seq in range(1, 101):
        session.move("smile", seq / 100, seq=seq)
    wait_for(frames, lambda frame: frame.seq == 100)
    assert len(frames) < 100
    seen = [frame.seq for frame in frames]
    assert seen == sorted(seen)


def test_zero_is_the_same_picture_byte_by_byte(session):
    gen, document = session.world.gen, session.document
    before = pictures(gen, document, Cache())
    there = document.change("smile", strength=1.3)
    assert pictures(gen, there, Cache()) != before
    assert pictures(gen, there.change("smile", strength=0.0), Cache()) == before


def test_a_large_generator_shows_its_running_picture_while_a_slider_moves(
    session, frames, monkeypatch
):
    monkeypatch.setattr(type(session.world), "running_resolution", property(lambda _: 8))
    # Until the program of the whole picture is there, the running one is shown, and then that.
    session.commit(seq=1)
    assert sides(wait_for(frames, lambda frame: frame.seq == 1)) == {8}
    session.studio.prepare(session.world.name)
    wait_for(frames, lambda frame: frame.kind == "edited" and sides(frame) == {16})
    session.move("smile", 0.3, seq=2)
    assert sides(wait_for(frames, lambda frame: frame.seq == 2)) == {8}
    session.commit(seq=3)
    assert sides(wait_for(frames, lambda frame: frame.seq == 3)) == {16}


def sides(frame):
    return {Image.open(io.BytesIO(image)).size[0] for image in frame.images}


def test_large_pictures_of_several_faces_come_together(session, frames, monkeypatch):
    monkeypatch.setattr(type(session.world), "running_resolution", property(lambda _: 8))
    session.studio.warm_up(session.world, 1, whole=True)
    for _ in range(3):
        session.add_random()
    session.commit(session.document.change("smile", strength=0.5), seq=7)
    frame = wait_for(frames, lambda frame: frame.kind == "edited" and frame.seq == 7)
    assert len(frame.images) == 4 and sides(frame) == {16}
    # Those before the edit came too, though newer pictures were asked for meanwhile.
    assert len([f for f in frames if f.kind == "before"][-1].images) == 4
    alone = draw(session.world.gen, session.document.faces[2:3], session.document.edited()[2:3])[0]
    assert frame.images[2] == jpeg(alone)


def test_a_conditional_generator_has_faces_of_its_classes(tiny_generator):
    config = dataclasses.replace(tiny_generator.config, c_dim=3)
    gen = make_generator(config, init_params(jax.random.key(1), config))
    one, two = (session_files.sampled(gen, 5, label=label) for label in (0, 2))
    assert one.source["label"] == 0 and np.abs(one.ws - two.ws).max() > 1e-3
    document = Document("g").add_face(two)
    again = session_files.load(session_files.read(session_files.dump(document, gen)), gen)
    np.testing.assert_array_equal(again.faces[0].ws, two.ws)


def test_faces_move_together(session):
    session.add_random()
    session.add_neighbours(2)
    gen, document = session.world.gen, session.document
    assert len(document.faces) == 4
    moved = document.change("smile", strength=1.0)
    for place in range(4):
        alone = draw(gen, [moved.faces[place]], moved.edited()[[place]])[0].astype(int)
        together = draw(gen, moved.faces, moved.edited())[place].astype(int)
        assert np.abs(alone - together).max() <= 1


def test_undo_brings_back_what_was(session):
    first = session.document
    session.move("smile", 0.4)
    session.move("smile", 0.9)
    session.commit()
    session.add_random()
    session.undo()
    assert session.document.motion("smile").strength == 0.9
    session.undo()
    assert session.document is first
    session.redo()
    assert session.document.motion("smile").strength == 0.9


def test_undo_goes_back_to_another_generator(studio_dir, tmp_path, frames):
    other = tmp_path / "other"
    shutil.copytree(studio_dir / "tiny", other)
    own = Studio(Worlds([str(studio_dir / "tiny"), str(other)]))
    try:
        session = Session(own, own.worlds[own.worlds.names[0]], frames.append)
        session.change_world(own.worlds[str(other)])
        assert session.document.generator == str(other)
        session.undo()
        assert session.world.name == session.document.generator == str(studio_dir / "tiny")
        session.redo()
        assert session.world.name == str(other)
    finally:
        own.close()


def test_strengths_are_bounded(session):
    session.move("smile", 1e9)
    assert session.document.motion("smile").strength == 2.0
    with pytest.raises(UsageError, match="unknown motion"):
        session.move("no such", 1.0)


def test_the_cache_forgets_the_oldest():
    cache = Cache(max_bytes=100)
    for i in range(50):
        cache.put(i, bytes(10))
    assert cache.size <= 100
    assert cache.get(49) is not None and cache.get(0) is None
    cache.put(49, bytes(40))
    assert cache.size <= 100


def test_the_animation_comes_frame_by_frame(session, frames):
    session.move("smile", 1.0)
    session.commit()
    total = session.animate()
    wait_for(frames, lambda frame: frame.kind == "animation" and frame.index == total - 1)
    places = [frame.index for frame in frames if frame.kind == "animation"]
    assert places == list(range(total))


def test_a_closed_session_is_free(studio, worlds, frames):
    own = Session(studio, worlds[worlds.names[0]], frames.append)
    own.move("smile", 1.0)
    wait_for(frames, lambda frame: frame.kind == "edited")
    face = weakref.ref(own.document.face)
    own.close()
    assert own not in studio.sessions
    frames.clear()
    del own
    gc.collect()
    end = time.monotonic() + 10
    while face() is not None and time.monotonic() < end:
        time.sleep(0.01)
        gc.collect()
    assert face() is None


def test_the_sheet_shows_the_strengths(session):
    images = session.sheet("smile")
    assert len(images) == SHEET
    strengths = session.document.motion("smile").sheet().tolist()
    plain = draw(session.world.gen, [session.document.face], session.document.edited())[0]
    assert np.abs(images[strengths.index(0.0)].astype(int) - plain).max() <= 1


def test_a_tuned_face_has_its_own_generator_in_the_file_too(session):
    gen = session.world.gen
    moved = jax.tree.map(lambda leaf: leaf + 0.05, dict(gen.params["synthesis"]))
    own = Generator(gen.config, {**gen.params, "synthesis": moved}, gen.meta)
    own = tuned.unpack(tuned.pack(own, gen, "tiny"), gen, "a")
    ws = session.document.face.ws
    document = session.document.add_face(Face("me", ws, {"kind": "photo"}, None, own))
    first, second = draw(gen, document.faces, document.edited())
    assert np.abs(first.astype(int) - second).max() > 3
    again = session_files.load(session_files.read(session_files.dump(document, gen)), gen)
    assert np.abs(draw(gen, again.faces, again.edited())[1].astype(int) - second).max() <= 1
    with pytest.raises(DataError, match="damaged"):
        tuned.unpack(b"PK", gen, "a")


@pytest.fixture
def rich(session):
    """A session with a sampled face, one with a photo, a look, keys and layers."""
    random = np.random.default_rng(5)
    image = random.integers(0, 255, (40, 50, 3)).astype(np.uint8)
    quad = np.array([[10, 5], [10, 25], [30, 25], [30, 5]], np.float32)
    photo = Photo(image, quad, image[:16, :16])
    ws = random.standard_normal((L, D)).astype(np.float32)
    document = session.document.add_face(Face("me", ws, {"kind": "photo"}, photo))
    document = document.change("smile", strength=0.5).change("beard", strength=-1.0, layers=(0, 3))
    session.commit(document.keep_look().set_key("smile", 1.0, 1.5))
    return session


def test_a_session_file_gives_the_same_pictures(rich):
    gen, document = rich.world.gen, rich.document
    text = session_files.dump(document, gen)
    again = session_files.load(session_files.read(text), gen)
    assert again.edited().tobytes() == document.edited().tobytes()
    assert again.animated(4).tobytes() == document.animated(4).tobytes()
    assert again.looks == document.looks and again.chosen == document.chosen
    assert json.loads(session_files.dump(again, gen)).keys() == json.loads(text).keys()
    assert again.faces[1].photo.image.shape == (40, 50, 3)
    without = session_files.load(
        session_files.read(session_files.dump(document, gen, photos=False)), gen
    )
    assert without.faces[1].photo is None


def spoil(values, *path):
    *way, (key, value) = path
    place = values
    for step in way:
        place = place[step]
    place[key] = value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ((("kind", "x"),), "not a session"),
        ((("version", 9),), "of version 1, got 9"),
        ((("faces", 3),), "'faces' is missing or no list"),
        ((("fps", 1e9),), "'fps' must be a number from 1 to 60"),
        (("faces", 0, "source", ("seed", -1)), "'seed' must be a whole number"),
        (("faces", 0, "source", ("seed", True)), "'seed' must be a whole number"),
        (("faces", 1, "ws", ("base64", "!!")), "not base64"),
        (("faces", 1, "ws", ("shape", [10**9])), "shape"),
        (("faces", 1, "ws", ("shape", [12, 6])), r"me: latents must be \[6, 12\], got \[12, 6\]"),
        (("faces", 1, "photo", ("quad", [1, 2])), "quad"),
        (("faces", 1, "photo", ("jpeg", "AAAA")), "no image"),
        (("motions", 0, ("strength", "2")), "'strength' must be a number"),
        (("motions", 0, ("layers", [99])), "rows 0 to 5"),
        (("motions", 0, ("keys", [[1]])), "pairs"),
        (("motions", 0, ("limits", [1])), "must be a number from -2 to 2"),
        (("motions", 0, "subspace", "meta", ("calibration", {"strengths": 1})), "calibration"),
        (("motions", 0, "subspace", ("basis", {})), "'shape' is missing"),
        (("motions", 0, "source", ("kind", "bundled")), "no bundled motion"),
        ((("looks", [["a", {"x": 1e9}]]),), "must be a number"),
    ],
)
def test_spoilt_session_files_are_refused(rich, path, message):
    values = json.loads(session_files.dump(rich.document, rich.world.gen))
    spoil(values, *path)
    before = rich.document
    with pytest.raises(DataError, match=message):
        session_files.load(session_files.read(json.dumps(values)), rich.world.gen)
    with pytest.raises(DataError):
        rich.open_session(json.dumps(values))
    assert rich.document is before


def test_a_session_of_an_unknown_generator_is_refused(session):
    values = json.loads(session_files.dump(session.document, session.world.gen))
    values["generator"] = "/etc"
    with pytest.raises(UsageError, match="unknown generator"):
        session.open_session(json.dumps(values))


def test_what_is_taken_home_can_be_read(rich, tmp_path):
    gen, document = rich.world.gen, rich.document
    size = gen.config.resolution
    image = np.asarray(Image.open(io.BytesIO(exports.png(gen, document))))
    np.testing.assert_array_equal(image, draw(gen, [document.face], document.edited()[[1]])[0])
    strip = Image.open(io.BytesIO(exports.strip(gen, document)))
    assert strip.size == (7 * size, 2 * size)
    gif = Image.open(io.BytesIO(exports.gif(gen, document)))
    assert gif.size == (2 * size, size) and gif.n_frames > 10
    assert exports.mp4(gen, document)[4:8] == b"ftyp"
    whole = np.asarray(Image.open(io.BytesIO(exports.photo(gen, document))))
    np.testing.assert_array_equal(whole[:4], document.face.photo.image[:4])  # beyond the quad
    assert (whole != document.face.photo.image).any()
    (tmp_path / "a.npz").write_bytes(exports.latents(document))
    np.testing.assert_array_equal(load_latents(tmp_path / "a.npz").ws, document.edited())
    packed = exports.subspace(document, "beard")
    (tmp_path / "mine.zip").write_bytes(packed)
    assert exports.subspace_file(tmp_path / "mine.zip") == tmp_path / "mine.npz"
    assert load_subspace(tmp_path / "mine.npz").meta == document.motion("beard").masked().meta
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path)
    assert load_subspace(tmp_path / "beard.npz").mask.tolist() == [1, 0, 0, 1, 0, 0]


def test_a_photo_is_untouched_without_an_edit(rich):
    still = rich.document.set_strengths({})
    assert pasted(rich.world.gen, still, "me") is still.face.photo.image


def test_the_copied_python_gives_the_same_picture(rich, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / exports.SESSION).write_text(session_files.dump(rich.document, rich.world.gen))
    names = {}
    exec(exports.python_code(rich.document), names)
    wanted = draw(rich.world.gen, rich.document.faces, rich.document.edited())
    assert np.abs(media.to_uint8(names["images"]).astype(int) - wanted).max() <= 1


def test_a_bad_calibration_is_refused(studio_dir, session, tmp_path):
    found = load_subspace(studio_dir / "even.npz")
    spoilt = dataclasses.replace(found, meta={"calibration": {"strengths": [0, 1]}})
    save_subspace(tmp_path / "bad.npz", spoilt)
    with pytest.raises(DataError, match=r"bad\.npz: not a calibration"):
        file_motion(session.world.gen, tmp_path / "bad.npz")
    assert file_motion(session.world.gen, studio_dir / "even.npz").calibration is not None


def test_limits_are_kept_in_a_session_file(session):
    gen = session.world.gen
    document = session.document.change("smile", limits=(-0.5, 1.25))
    again = session_files.load(session_files.read(session_files.dump(document, gen)), gen)
    assert again.motion("smile").limits == (-0.5, 1.25) and again.motion("beard").limits is None


@pytest.fixture(scope="module")
def learning(studio_dir, tiny_clip_dir):
    return Worlds([str(studio_dir / "tiny")], clip=str(tiny_clip_dir))


def test_a_motion_is_learnt_from_a_prompt(learning):
    world, shown, told = learning[learning.names[0]], [], []
    learnt = learn.from_prompt(
        world, "a person with {degree} smile", "smile", show=shown.append,
        options=learn.ANCHORS.replace(gradients=learn.FIRST_LOOK + 8),
        progress=lambda label, done, total: told.append(done / total),
    )  # fmt: skip
    assert len(shown) == 1 and shown[0].basis.shape == (1, L, D)
    assert told == sorted(told) and told[-1] == 0.85  # what is not found is not calibrated
    assert [strength for strength, _ in learnt.read] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    # A random CLIP knows nothing of smiles: the slider says so.
    assert not learnt.motion.subspace.meta["read_back"]["found"]
    assert any("something else than the prompt says" in line for line in learnt.warnings)


@pytest.mark.parametrize("saturates", [(-0.5, 1.5), (0.5, 1.5)])
def test_what_does_as_the_prompt_says_is_calibrated(learning, monkeypatch, saturates):
    """Unless nothing that is read changes about strength 0."""
    curve = Calibration.from_dict({**CALIBRATION, "saturates": saturates})
    asked = []

    def calibrate(gen, clip, subspace, *, progress):
        asked.append(subspace.meta["template"])
        progress("calibrating", 1, 1)
        return curve

    monkeypatch.setattr("mm_jax.anchors.readback.MIN_DEGREE", -10.0)
    monkeypatch.setattr("mm_jax.anchors.readback.MIN_SPEARMAN", -1.0)
    monkeypatch.setattr(learn, "calibrate", calibrate)
    told = []
    learnt = learn.from_prompt(
        learning[learning.names[0]], "{degree} angry", "angry",
        options=learn.ANCHORS.replace(gradients=8),
        progress=lambda label, done, total: told.append(done),
    )  # fmt: skip
    assert asked == ["{degree} angry"] and not learnt.warnings
    meta = learnt.motion.subspace.meta
    assert meta["read_back"]["found"]
    if saturates[0] > 0:
        assert learnt.motion.calibration is None and "not about 0" in meta["uncalibrated"]
    else:
        assert learnt.motion.calibration.to_dict() == curve.to_dict()
    assert told == sorted(told) and told[-1] == 100


def test_learning_ends_when_it_is_not_wanted_any_more(learning):
    class Enough(Exception):
        pass

    def progress(label, done, total):
        raise Enough

    with pytest.raises(Enough):
        learn.from_prompt(learning[learning.names[0]], "{degree} angry", "angry", progress=progress)


def test_worlds_have_the_precision_that_was_asked_for(studio_dir):
    name = str(studio_dir / "tiny")
    assert Worlds([name], precision="bfloat16")[name].gen.config.precision == "bfloat16"
    assert Worlds([name])[name].gen.config.precision == "float32"


def test_a_photo_that_is_not_known_is_held_to_the_mean_and_said(session, monkeypatch):
    """Without a tuned copy what is drawn is near the average, and the page says why."""
    gen, random = session.world.gen, np.random.default_rng(5)
    size = gen.config.resolution
    crop = random.integers(0, 256, (size, size, 3), np.uint8)
    photo = Photo(crop, np.zeros((4, 2), np.float32), crop)
    face = Face("a", faces_to_ws([session.document.face])[0], {"kind": "photo"}, photo)
    options = InvertOptions(steps=10)
    monkeypatch.setattr(photos, "judge_inversions", _judge(known=True))
    free = photos.refine(session.world, face, options=options)
    monkeypatch.setattr(photos, "judge_inversions", _judge(known=False))
    held = photos.refine(session.world, face, options=options)
    mean = np.asarray(mean_latent(gen))[0]
    assert np.abs(held.ws - mean).mean() < np.abs(free.ws - mean).mean()
    assert "unknown" not in free.source and held.source["unknown"]
    assert "does not know" in photos.doubts(held, "A") and "Tune to the photo" in photos.doubts(
        held, "A"
    )
    assert photos.doubts(free, "A") == ""


def _judge(*, known):
    identity = 0.1 if known else 0.5

    def judge(gen, images, drawn, ws, **others):
        return [Likeness(20.0, 0.1, 1.0, face=True, identity=identity)] * len(images)

    return judge


@pytest.mark.parametrize(
    "members", [(), ("a.npz",), ("a.npz", "a.json", "b.json"), ("a.npz", "a.txt")]
)
def test_a_zip_that_is_no_subspace_is_refused(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for member in members:
            archive.writestr(member, "x")
    with pytest.raises(DataError, match="holds no subspace"):
        exports.subspace_file(tmp_path / "a.zip")


def test_a_zip_is_bounded_and_keeps_to_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "inner"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../../out.npz", "x")
        archive.writestr("/out.json", "x")
    exports.subspace_file(folder / "a.zip")
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert names == {"inner/a.zip", "inner/a.npz", "inner/a.json"}
    monkeypatch.setattr(exports, "MAX_BYTES", 0)
    with pytest.raises(DataError, match="is larger than"):
        exports.subspace_file(folder / "a.zip")
    (folder / "b.zip").write_bytes((folder / "a.zip").read_bytes()[:-10])
    with pytest.raises(DataError, match=r"no \.zip that can be read"):
        exports.subspace_file(folder / "b.zip")


def test_a_class_that_is_not_there_is_refused():
    config = GeneratorConfig(
        resolution=16, z_dim=4, w_dim=8, c_dim=3, mapping_layers=1, channels=(4, 4, 4)
    )
    gen = make_generator(config, init_params(jax.random.key(0), config), meta={"name": "kinds"})
    assert session_files.sampled(gen, 1, label=2).source["label"] == 2
    for label in (-1, 3):
        with pytest.raises(UsageError, match="class must be from 0 to 2"):
            session_files.sampled(gen, 1, label=label)
