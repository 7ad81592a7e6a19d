"""Run a bundle's ablations: the program ``compare`` with the plan ``configs/ablations.yaml``, one training per row.

    python -m medssm_monai.experiments.ablate bundles/medconvmamba                     # on the synthetic demo set
    python -m medssm_monai.experiments.ablate bundles/medconvmamba --overlay pneumoniamnist.yaml -- --dataset_dir FOLDER
    python -m medssm_monai.experiments.ablate bundles/medconvmamba --rows "depth 3" "scan identity" --output_dir FOLDER

Words after the two dashes override settings of all rows. Start the same command again to go on: a row that is complete
and whose settings are unchanged is not repeated. A row that fails is reported in the table, and the others run all the
same.

Exit status: 0, 1 when a row failed, 2 when nothing could be run, 130 or 143 when it was stopped.
"""

from __future__ import annotations

import sys

from .compare import run_command

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the rows; returns 1 when one failed."""
    given = sys.argv[1:] if arguments is None else arguments
    return run_command(given, "python -m medssm_monai.experiments.ablate", __doc__ or "", "ablations", "Ablations")


if __name__ == "__main__":
    sys.exit(main())
