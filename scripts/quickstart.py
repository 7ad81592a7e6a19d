"""From nothing but Python to a first training run: make an environment, install the package, train on the demo set.

    python scripts/quickstart.py
    python scripts/quickstart.py -- --dataset_dir FOLDER        (bundle overrides after the two dashes)

Standard library only; may be run again at any time, and then goes straight to the training.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit("medssm-monai needs Python 3.10 or newer; %s is Python %d.%d." % (sys.executable, *sys.version_info[:2]))  # noqa: UP031

import argparse
import os
import shlex

from _venv import ROOT, add_options, guarded, prepare, say

TRAINING = ("-m", "medssm_monai", "train", "mamba_mis")
DEMO = ("--max_epochs", "12", "--output_dir", "quickstart", "--ckpt_dir", "quickstart/models")
"""What is added where nothing else is asked for: a short training, whose weights stay out of the bundle's way."""
NEXT = {
    "an image of yours, with the weights that come with the bundle": "medssm predict mamba_mis IMAGE.jpg -o results",
    "a training on your images": "medssm train mamba_mis --dataset_dir FOLDER",
    "what else there is": "medssm --help",
}


def main(arguments: list[str] | None = None) -> int:
    """Set up, then train; returns the exit status of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--setup-only", action="store_true", help="make the environment, but do not train")
    parser.add_argument("overrides", nargs="*", help="after --: overrides for the bundle, e.g. -- --max_epochs 2")
    options = parser.parse_args(arguments)
    environment = prepare(options)
    status = 0
    if not options.setup_only:
        say("Training on synthetic images." if not options.overrides else "Training, from the repository's root:")
        status = environment.run(*TRAINING, *(options.overrides or DEMO))
        ended = "The training would end here." if options.dry_run else "The training ended well."
        say(ended if status == 0 else f"The training failed with exit status {status}; see above.")
        pictures = sorted(
            (ROOT / "quickstart").glob("*/validation/overlays.png"), key=lambda path: path.stat().st_mtime
        )
        if status == 0 and pictures and not options.overrides:
            say(f"Look at it: {pictures[-1].relative_to(ROOT)}")
    activate = str(environment.scripts / "activate")
    say("What is next, from the repository's root:")
    say(f"  {activate}" if os.name == "nt" else f"  source {shlex.quote(activate)}")
    width = max(map(len, NEXT.values()))
    for what, command in NEXT.items():
        say(f"  {command:<{width}}   # {what}")
    return status


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
