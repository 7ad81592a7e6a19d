r"""Record beside weights what they were trained for: a line in words and a fingerprint of their training images, as a
training writes them, for weights that come without.

    python -m medssm_monai.experiments.record_domain bundles/medconvmamba/models/model.pt \
        --config_file bundles/medconvmamba/configs/train.yaml bundles/medconvmamba/configs/pneumoniamnist.yaml \
        --dataset_dir FOLDER_OF_THE_NPZ_FILES

The configs are those of the training: train.yaml of the bundle and the overlays it was trained with, which choose the
training images. Only model.json beside the weights changes, in the key domain.

Exit status: 0, 2 when there are no such weights, configs or images.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from ..bundle.config import literal
from ..bundle.settings import DOMAIN, saved_settings, settings_file, update_model_settings
from ..bundle.settings_schema import check_settings
from ..utils.errors import root_cause
from ..utils.text_files import printable

__all__ = ["main", "training_domain"]

COMPONENT = "validate#best_model#domain"


def training_domain(configs: list[str], dataset_dir: str | None = None, text: str | None = None) -> dict[str, Any]:
    """The domain that a training with these configs writes; nothing is trained.

    Args:
        configs: ``train.yaml`` of a bundle and overlays.
        dataset_dir: replaces the key of that name.
        text: replaces ``domain_text``.

    Raises:
        FileNotFoundError: no such config or data.
        ValueError: configs that record no domain; data or a text that a training would refuse.
    """
    from monai.bundle import ConfigParser

    missing = [file for file in configs if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(f"no such config: {', '.join(missing)}")
    parser = ConfigParser()
    parser.read_config(configs)
    found = {"dataset_dir": dataset_dir, "domain_text": text}
    parser.update({key: literal(value) for key, value in found.items() if value is not None})
    parser.update({"bundle_root": literal(str(Path(configs[0]).resolve().parent.parent))})
    component = parser.get(COMPONENT)
    if component is None:
        raise ValueError(f"{configs[0]} has no {COMPONENT}: give the train.yaml of a bundle.")
    return parser.get_parsed_content(COMPONENT)()


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 2 when nothing could be recorded."""
    parser = argparse.ArgumentParser(
        prog="python -m medssm_monai.experiments.record_domain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", type=Path, help="model.pt, with model.json beside it, which is changed")
    parser.add_argument("--config_file", nargs="+", required=True, help="train.yaml of the bundle, and overlays")
    parser.add_argument("--dataset_dir", help="the data that the weights were trained with")
    parser.add_argument("--domain_text", help="what the weights are for, in one line; default that of the configs")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        settings = saved_settings(options.weights) if options.weights.is_file() else None
        if settings is None:
            raise FileNotFoundError(f"{options.weights}: no weights with settings beside them")
        domain = training_domain(options.config_file, options.dataset_dir, options.domain_text)
        check_settings({**settings, DOMAIN: domain}, settings_file(options.weights), "Give the data of the training.")
        update_model_settings(options.weights, **{DOMAIN: domain})
    except Exception as error:  # MONAI wraps what a component of a config raises
        cause = root_cause(error)
        print(printable(f"{type(cause).__name__}: {cause}"), file=sys.stderr)
        return 2
    print(printable(f"{settings_file(options.weights)}: {domain['text']}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
