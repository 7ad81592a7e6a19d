"""Weights out of an MLflow registry, ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``: fetched once, checked always.

Of a registered model only weights, settings and model card are taken, and the weights are read as tensors: nothing that
a registry holds is run here. Which files they must be stands in the tags of the version, in the registry's database;
the files come from its artifact store. One that was changed there does not fit its tag.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..utils.files import file_sha256, writable_folder
from ..utils.tracking import REQUESTS, environment, resolve_tracking_uri, short_reason, shown_uri
from ..utils.user_cache import user_cache
from .find import bundle_name
from .work_place import work_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = [
    "BUNDLE",
    "CARD_SHA256",
    "DATA",
    "MODEL_ID",
    "SETTINGS_SHA256",
    "WEIGHTS_FILE",
    "WEIGHTS_SHA256",
    "Registry",
    "is_registered",
    "registered_weights",
]

logger = logging.getLogger(__name__)
SCHEME = "models:/"
FORM = re.compile(r"models:/(?P<name>[^/@:]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
BUNDLE, WEIGHTS_SHA256, SETTINGS_SHA256, CARD_SHA256 = "bundle", "weights_sha256", "settings_sha256", "card_sha256"
"""Tags of a version: whose weights it holds, and which files these are."""
MODEL_ID = "logged_model"
"""Tag that names MLflow's logged model with the files; MLflow's stores do not keep it with the version themselves."""
DATA, WEIGHTS_FILE = "data", "models/model.pt"
"""Where they lie in a registered model: ``data/<bundle>/models/model.pt``."""
DIGESTS = {".pt": WEIGHTS_SHA256, ".json": SETTINGS_SHA256, ".md": CARD_SHA256}
HELP = "See which there are with: medssm registry list"
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the second of an alias

Result = TypeVar("Result")


def is_registered(name: str | os.PathLike[str] | None) -> bool:
    """Whether this names weights in a registry rather than a file."""
    return isinstance(name, str) and name.startswith(SCHEME)


def registered_weights(
    uri: str, bundle_root: str | os.PathLike[str], tracking_uri: str | None = None, cache: Path | None = None
) -> str:
    """Path of registered weights in the user's cache, their settings and card beside them.

    The registry is asked each time, as an alias may have moved; files are fetched when they are not in the cache, and
    their SHA-256 is compared with that of the version each time.

    Args:
        uri: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
        bundle_root: the bundle that they are for.
        tracking_uri: of the registry; default ``MLFLOW_TRACKING_URI``, else the bundle's own ``eval/mlruns.db``.
        cache: folder of the files; default ``registry`` in the user's cache.

    Raises:
        ConnectionError: the registry does not answer.
        FileNotFoundError: no such model, alias or version, or its files are gone.
        ValueError: another form of address, a model of another bundle or one that ``medssm registry register`` has not
            made, or files that changed after they were registered.
    """
    root = Path(bundle_root)
    name = bundle_name(root) or root.name
    registry = Registry.of(root, tracking_uri)
    version = registry.find(uri)
    known = _known(version, uri, name)
    folder = _cache(cache) / f"{known['.pt'][:32]}-{known['.json'][:16]}"
    if not _complete(folder, known):
        _fetch(registry, version, name, known, folder)
    logger.info(
        "%s is version %s of %s at %s (SHA-256 %s)",
        *(uri, version.version, version.name, shown_uri(registry.uri), known[".pt"][:12]),
    )
    return os.fspath(folder / Path(WEIGHTS_FILE).name)


@dataclass(frozen=True)
class Registry:
    """A registry, and what goes wrong with one in words.

    Attributes:
        uri: its address.
        client: MLflow's client for it.
    """

    uri: str
    client: MlflowClient

    @classmethod
    def of(cls, bundle_root: Path | None, tracking_uri: str | None = None, create: bool = False) -> Registry:
        """The registry named by an argument, by ``MLFLOW_TRACKING_URI``, or a bundle's own.

        Raises:
            FileNotFoundError: a SQLite file that is not there, unless it is to be created; or none is named at all.
            ValueError: a folder as address.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        place = Path(work_folder(bundle_root)) / "eval" if bundle_root is not None else None
        with environment({"MLFLOW_TRACKING_URI": None} if tracking_uri else {}):  # the argument comes first
            if place is None and not tracking_uri and not os.environ.get("MLFLOW_TRACKING_URI"):
                raise FileNotFoundError(
                    "no registry is named: set MLFLOW_TRACKING_URI, or give --tracking_uri http://HOST:5000, or name "
                    "the bundle whose own eval/mlruns.db is meant with --bundle NAME."
                )
            uri = resolve_tracking_uri(place or Path.cwd(), tracking_uri)
        if uri.startswith("sqlite:///"):
            file = Path(uri.removeprefix("sqlite:///"))
            if create:
                writable_folder(file.parent)
            elif not file.is_file():
                raise FileNotFoundError(
                    f"no registry {uri}: nothing was registered there. Set MLFLOW_TRACKING_URI to the registry's "
                    "address (http://HOST:5000), or register a model first: medssm registry register."
                )
        from mlflow import MlflowClient

        with _answering(uri):
            return cls(uri, MlflowClient(tracking_uri=uri))

    @property
    def is_local(self) -> bool:
        """Whether it is a SQLite file rather than a server."""
        return self.uri.startswith("sqlite:")

    def ask(self, function: Callable[[MlflowClient], Result]) -> Result:
        """What a function of the client gives; a server is waited for some seconds, not for MLflow's minutes.

        Raises:
            ConnectionError: no answer.
            MlflowException: what the registry says itself.
        """
        with _answering(self.uri):
            return function(self.client)

    def find(self, uri: str) -> ModelVersion:
        """The version at an address.

        Raises:
            ConnectionError, FileNotFoundError, ValueError: as :func:`registered_weights`.
        """
        match = FORM.fullmatch(uri)
        if match is None:
            raise ValueError(f"{uri!r}: expected models:/NAME@ALIAS (models:/polyps@champion) or models:/NAME/VERSION.")
        return self.version(match["name"], match["alias"] or int(match["version"]))

    def version(self, name: str, which: str | int) -> ModelVersion:
        """A version by its alias (text) or its number.

        Raises:
            ConnectionError, FileNotFoundError: as :func:`registered_weights`.
        """
        from mlflow.exceptions import MlflowException

        try:
            if isinstance(which, int):
                return self.ask(lambda client: client.get_model_version(name, str(which)))
            return self.ask(lambda client: client.get_model_version_by_alias(name, which))
        except MlflowException as error:
            if error.error_code not in MISSING:
                raise
            raise FileNotFoundError(self._what_there_is(name, which)) from None

    def _what_there_is(self, name: str, which: str | int) -> str:
        models = {model.name: model for model in self.ask(lambda client: client.search_registered_models())}
        at = f"the registry {shown_uri(self.uri)}"
        if name not in models:
            near = difflib.get_close_matches(name, models, 2) or sorted(models)[:6]
            there = f"it has {', '.join(map(repr, near))}" if near else "it is empty"
            return f"no model {name!r} in {at}; {there}. {HELP}"
        versions = self.versions(name)
        numbers = ", ".join(sorted((str(one.version) for one in versions), key=int)) or "none"
        aliases = ", ".join(f"{alias} (version {number})" for alias, number in models[name].aliases.items()) or "none"
        what = f"version {which}" if isinstance(which, int) else f"alias {which!r}"
        return f"model {name!r} has no {what} in {at}; versions: {numbers}; aliases: {aliases}."

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions of a model."""
        return list(self.ask(lambda client: client.search_model_versions(f"name='{name}'")))

    def set_tag(self, version: ModelVersion, key: str, value: str) -> None:
        """Set a tag of a version."""
        self.ask(lambda client: client.set_model_version_tag(version.name, str(version.version), key, value))

    def download(self, version: ModelVersion, path: str, folder: Path) -> Path:
        """One file of a version's artifacts, copied into ``folder``.

        Raises:
            ConnectionError: no answer.
            FileNotFoundError: the registry knows the version, but its file is not there.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        what = f"{path} of version {version.version} of {version.name}"
        try:
            model = self.ask(lambda client: client.get_logged_model(version.tags[MODEL_ID]))
            with _answering(self.uri), environment({"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}):
                found = download_artifacts(
                    artifact_uri=f"{model.artifact_location.rstrip('/')}/{path}",
                    dst_path=os.fspath(folder),
                    tracking_uri=self.uri,
                )
        except (MlflowException, OSError) as error:
            if isinstance(error, ConnectionError):  # MLflow says the same of a file and of a server that is not there
                self.ask(lambda client: client.search_registered_models(max_results=1))
            reason = short_reason(error.__cause__ or error)
            raise FileNotFoundError(
                f"{what} cannot be fetched from the registry's artifact store ({reason}). The database knows the "
                "version, but its file is not there: bring back the folder of artifacts that belongs to this database, "
                "or register the weights again."
            ) from error
        return Path(found)


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    """Limits of waiting while the block runs, unless the user has set MLflow's own; and the error in words."""
    from mlflow.exceptions import MlflowException

    asked = any(os.environ.get(name) for name in list(REQUESTS)[:2])
    try:
        with environment({} if asked else dict(REQUESTS)):
            yield
    except Exception as error:
        if uri.startswith("sqlite:"):
            raise
        if isinstance(error, MlflowException) and error.error_code not in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"):
            raise
        if isinstance(error, OSError) and not _of_network(error):
            raise
        raise ConnectionError(
            f"the MLflow registry {shown_uri(uri)} does not answer ({short_reason(error)}). Start it, correct "
            "MLFLOW_TRACKING_URI, or name a file of weights instead of models:/…"
        ) from error


def _of_network(error: OSError) -> bool:
    return isinstance(error, (ConnectionError, TimeoutError)) or type(error).__module__.startswith("requests")


def _known(version: ModelVersion, uri: str, bundle: str) -> dict[str, str]:
    """SHA-256 of the files of a version, by their endings, once it is one of this bundle.

    Raises:
        ValueError: it is not.
    """
    tags: Mapping[str, Any] = version.tags
    digests = {end: str(tags[name]) for end, name in DIGESTS.items() if name in tags}
    if BUNDLE not in tags or not {".pt", ".json"} <= digests.keys() or MODEL_ID not in tags:
        raise ValueError(
            f"{uri} was not registered by medssm registry register: its tags do not say which bundle and which files "
            "it is. Register the weights that way."
        )
    if any(not re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests.values()):
        raise ValueError(f"{uri}: a tag that should be a SHA-256 is none; register the weights again.")
    if tags[BUNDLE] != bundle:
        raise ValueError(f"{uri} is a model of the bundle {tags[BUNDLE]!r}, not of {bundle!r}. Name one of {bundle!r}.")
    return digests


def _cache(folder: Path | None) -> Path:
    own = folder or ((base := user_cache()) and base / "registry")
    if own is None:
        raise PermissionError(
            "there is no safe folder to keep registered weights in: give this user a home folder, or set "
            "XDG_CACHE_HOME to a folder of its own."
        )
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    return own


def _complete(folder: Path, known: Mapping[str, str]) -> bool:
    files = {folder / Path(WEIGHTS_FILE).with_suffix(end).name: digest for end, digest in known.items()}
    return all(path.is_file() and file_sha256(path) == digest for path, digest in files.items())


def _fetch(registry: Registry, version: ModelVersion, bundle: str, known: Mapping[str, str], folder: Path) -> None:
    """Fetch the files beside the place where they go, and move them there once they are those of the version.

    Raises:
        ValueError: other files.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as place:
        for end, digest in known.items():
            inner = f"{DATA}/{bundle}/{Path(WEIGHTS_FILE).with_suffix(end).as_posix()}"
            file = registry.download(version, inner, Path(place))
            if (found := file_sha256(file)) != digest:
                raise ValueError(
                    f"{inner} of version {version.version} of {version.name} was changed after it was registered "
                    f"(SHA-256 {found[:12]}…, registered {digest[:12]}…). Do not use it; register the weights again."
                )
            whole = Path(place) / file.name
            if file != whole:
                shutil.move(file, whole)
        folder.mkdir(mode=0o700, exist_ok=True)
        for end in known:
            name = Path(WEIGHTS_FILE).with_suffix(end).name
            os.replace(Path(place) / name, folder / name)
