"""Orthanc's configuration for a server with our plugin, in one folder with its images, password and queue."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...utils.files import replace_file, writable_folder
from .in_orthanc import entry_file
from .in_orthanc.rules import read_rules

__all__ = ["CONFIG", "PASSWORD", "QUEUE", "SPOOL", "USER", "ServerOptions", "Storage", "write_config"]

CONFIG, PASSWORD, QUEUE, SPOOL, RULES = "orthanc.json", "password", "queue.sqlite", "spool", "rules.json"
USER = "medssm"
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins", "/usr/lib/orthanc")
PYTHON, DICOMWEB = "OrthancPython", "OrthancDicomWeb"
MODALITY = re.compile(r"(?P<name>[A-Za-z0-9_-]+)=(?P<aet>[^@:\\]{1,16})@(?P<host>[^@:/]+):(?P<port>\d+)")
THIS_COMPUTER = "this_computer=STORESCU@127.0.0.1:104"
"""Who may send by default: DCMTK's ``storescu`` on this computer."""


@dataclass(frozen=True)
class Storage:
    """The folder of a server."""

    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        """Orthanc's configuration.

        Raises:
            FileNotFoundError: there is none yet.
        """
        path = self.folder / CONFIG
        if not path.is_file():
            raise FileNotFoundError(f"{path} not found; the command 'start --storage {self.folder}' makes it.")
        return dict(json.loads(path.read_text(encoding="utf-8")))

    @property
    def url(self) -> str:
        """Where Orthanc listens on this computer."""
        config = self.config
        return f"http{'s' if config.get('SslEnabled') else ''}://127.0.0.1:{config['HttpPort']}"

    @property
    def password(self) -> str:
        """Of the worker's user; empty where Orthanc asks for none."""
        return str(self.config.get("RegisteredUsers", {}).get(USER, ""))


@dataclass(frozen=True)
class ServerOptions:
    """How Orthanc is to listen, and what it queues.

    Attributes:
        http_port, dicom_port, aet: of Orthanc.
        stable_age: seconds without further images after which a series is complete.
        modalities: ``NAME=AET@HOST:PORT``: who may send, and what ``--send-to`` may name.
        remote_access: whether other computers may use REST and the web page.
        certificate: PEM file with certificate and key.
        ask_password: whether REST and the web page ask for a password.
        existing: whether what Orthanc held when it first had the queue is predicted as well.
        plugins: folders to look for Orthanc's plugins in.
    """

    http_port: int = 8042
    dicom_port: int = 4242
    aet: str = "ORTHANC"
    stable_age: int = 60
    modalities: tuple[str, ...] = (THIS_COMPUTER,)
    remote_access: bool = False
    certificate: str | None = None
    ask_password: bool = True
    existing: bool = True
    plugins: tuple[str, ...] = PLUGIN_FOLDERS


def write_config(folder: Path, rules: Sequence[dict[str, str]] | None, options: ServerOptions) -> Path:
    """Write ``orthanc.json`` and what it names into a folder; what is there of rules and password is kept.

    Args:
        folder: of the server; made readable by its owner only.
        rules: see :func:`~.in_orthanc.rules.read_rules`; None takes those of the folder.
        options: how Orthanc listens.

    Raises:
        FileNotFoundError: no Python plugin of Orthanc, or no rules.
        ValueError: wrong rules, receivers, or access without a password from other computers.
    """
    if options.remote_access and not options.ask_password:
        raise ValueError("other computers may use Orthanc only with its password: leave --no-password out.")
    if options.remote_access and not options.certificate:
        raise ValueError(
            "the password and the images would travel unencrypted: give --certificate FILE (PEM, with the key), or "
            "leave --remote-access out and let a proxy with TLS stand before Orthanc."
        )
    modalities = _modalities(options.modalities)
    plugins = [_plugin(PYTHON, options.plugins)]
    if plugins[0] is None:
        raise FileNotFoundError(
            f"Orthanc's Python plugin (lib{PYTHON}.so) is not in {', '.join(options.plugins)}; install it (Debian, "
            "Ubuntu: apt-get install orthanc orthanc-python), or name its folder with --plugins."
        )
    plugins.append(_plugin(DICOMWEB, options.plugins))
    folder = Path(os.path.abspath(folder))
    writable_folder(folder, folder / "images", remedy="Name another folder with --storage.")
    rules_file = folder / RULES
    if rules is None:
        if not rules_file.is_file():
            raise FileNotFoundError(f"{rules_file} not found: name bundles, or a file with --rules.")
        read_rules(str(rules_file))
    else:
        read_rules(list(rules))
        _private_text(rules_file, json.dumps(list(rules), indent=2))
    config: dict[str, Any] = {
        "Name": "MedSSM",
        "StorageDirectory": str(folder / "images"),
        "IndexDirectory": str(folder / "images"),
        "Plugins": [str(path) for path in plugins if path is not None],
        "PythonScript": str(entry_file()),
        "HttpPort": options.http_port,
        "RemoteAccessAllowed": options.remote_access,
        "AuthenticationEnabled": options.ask_password,
        "RegisteredUsers": {USER: _password(folder)} if options.ask_password else {},
        "SslEnabled": options.certificate is not None,
        "WebDavEnabled": False,
        "ExecuteLuaEnabled": False,
        "DicomAet": options.aet,
        "DicomPort": options.dicom_port,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "DicomCheckModalityHost": True,
        "DicomModalities": modalities,
        "StableAge": options.stable_age,
        "OverwriteInstances": False,
        "DicomWeb": {"Enable": plugins[1] is not None, "Root": "/dicom-web/"},
        "MedSSM": {"Queue": str(folder / QUEUE), "Rules": str(rules_file), "Existing": options.existing},
    }
    if options.certificate is not None:
        config["SslCertificate"] = os.path.abspath(options.certificate)
    _private_text(folder / CONFIG, json.dumps(config, indent=2))
    return folder / CONFIG


def _plugin(name: str, folders: Sequence[str]) -> Path | None:
    found = [path for folder in folders for path in sorted(Path(folder).glob(f"lib{name}.so*"))]
    return found[0] if found else None


def _modalities(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    wrong = [one for one in given if not MODALITY.fullmatch(one)]
    if wrong:
        raise ValueError(
            f"--modality {', '.join(wrong)}: NAME=AET@HOST:PORT is expected, such as ct1=CT1@10.0.0.5:104."
        )
    found = [match for one in given if (match := MODALITY.fullmatch(one))]
    return {
        one["name"]: {"AET": one["aet"], "Host": one["host"], "Port": int(one["port"]), "AllowStore": True}
        for one in found
    }


def _password(folder: Path) -> str:
    path = folder / PASSWORD
    if not path.is_file():
        _private_text(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text(encoding="utf-8").strip()


def _private_text(path: Path, text: str) -> None:
    with replace_file(path) as part:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
        part.write_text(text, encoding="utf-8")
