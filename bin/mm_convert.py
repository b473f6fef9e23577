"""Convert weights and directions of other projects to ours, or a generator of ours to theirs.

Reads the files of NVlabs' StyleGAN2 (PyTorch and TensorFlow), rosinality, pSp, e4e, ReStyle,
IR-SE50, LPIPS, CLIP, InterFaceGAN, GANSpace and micromotion without torch, and executes nothing
that they hold. Every key must be accounted for; then the result is run, compared with expected
values where they are given, and written as a whole. docs/weights.md lists what is supported.

--to=onnx writes a generator's synthesis network as an ONNX file for other runtimes, browsers among
them, and compares its images with ours; it needs the extra onnx.

Examples:
  mm_convert --source=ffhq.pkl --outdir=models/ffhq
  mm_convert --source=ffhq.pkl --outdir=models/ffhq --dry_run
  mm_convert --source=550000.pt --network=G --verify=expected.npz --outdir=models/faces
  mm_convert --source=d_latent --outdir=runs/official_smile
  mm_convert --source=ViT-B-32.pt --vocabulary=bpe_simple_vocab_16e6.txt.gz --outdir=models/clip
  mm_convert --source=models/ffhq --to=rosinality --format=pt --outdir=exported
  mm_convert --source=models/faces --to=onnx --outdir=exported
"""

from __future__ import annotations

from etils import epy

from mm_jax import cli
from weights_convert.options import ConvertOptions

with epy.lazy_imports():
    from weights_convert import job


def work(call: cli.Call) -> None:
    """Convert the file, or a generator the other way."""
    out = call.read(cli.OutputOptions)
    job.convert(
        call.read(ConvertOptions, outdir=out.outdir, dry_run=out.dry_run, overwrite=out.overwrite)
    )


OPTIONS = (ConvertOptions, cli.OutputOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    return cli.run(__doc__, OPTIONS, work, argv)


if __name__ == "__main__":
    raise SystemExit(main())
