"""mm_train_synthface as far as flags go; what it trains has tests of its own."""

import json

STAGES = "probe,generator,clip,encoder,sketch"


def test_a_dry_run_shows_the_stages(call, tmp_path):
    status, out, err = call("mm_train_synthface", "--outdir=out", "--dry_run")
    assert status == 0, err
    assert json.loads(out) == {
        "stages": STAGES.split(","),
        "continue_from": "",
        "keep_mapping": False,
        "install": False,
        "outdir": "out",
    }
    assert list(tmp_path.iterdir()) == []


def test_bad_usage(fails):
    fails(2, "unknown stage 'paint'", "mm_train_synthface", "--outdir=out", "--stages=probe,paint")
    fails(2, "--outdir is missing", "mm_train_synthface")
    nothing = ("--stages=probe", "--continue_from=synthface")
    fails(2, "without the stage generator", "mm_train_synthface", "--outdir=out", *nothing)
    fails(
        2,
        "keep_mapping wants continue_from",
        "mm_train_synthface",
        "--outdir=out",
        "--keep_mapping",
    )
    fails(2, "unknown generator 'x'", "mm_train_synthface", "--outdir=out", "--continue_from=x")
