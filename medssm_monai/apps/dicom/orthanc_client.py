"""What a worker asks of Orthanc: the images of a series or study, and to keep the results."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from ..loopback import is_loopback
from .in_orthanc.rules import is_source

__all__ = ["Gone", "OrthancClient", "Refused", "Unreachable", "WrongPassword"]

CONNECT_SECONDS, READ_SECONDS, SEND_SECONDS = 5, 120, 600
CHUNK = 2**20
NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")  # an identifier of Orthanc
FAILED_SEQUENCE = "00081198"


class Unreachable(ConnectionError):
    """Orthanc, or the receiver that it sends to, does not answer or cannot serve now: no fault of a study."""


class WrongPassword(Unreachable):
    """Orthanc answers, but not to this user."""


class Gone(LookupError):
    """Orthanc no longer has this."""


class Refused(RuntimeError):
    """Orthanc does not take an object."""


class OrthancClient:
    """Orthanc's REST API.

    Args:
        url: such as ``http://127.0.0.1:8042``.
        user, password: of Orthanc; none where it asks for none.
        ca_file: certificate that signs Orthanc's; None for those of the ``certifi`` package.
        plain_http: whether images may travel unencrypted to another computer.

    Raises:
        ValueError: no address of a web server, or plain HTTP to another computer.
    """

    def __init__(
        self, url: str, user: str = "", password: str = "", ca_file: str | None = None, plain_http: bool = False
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r}: an address such as http://127.0.0.1:8042 is expected.")
        if parts.username or parts.password:
            raise ValueError("no user and password in the address: use --user and --password-file.")
        if parts.scheme == "http" and not is_loopback(parts.hostname) and not plain_http:
            raise ValueError(
                f"{url}: images of patients and the password would travel unencrypted to another computer; use https "
                "(Orthanc's SslEnabled, or a proxy before it), or --plain-http where the network itself is encrypted."
            )
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, and no password of another file
        self._session.verify = ca_file or True
        if user:
            self._session.auth = (user, password)

    def _ask(self, method: str, path: str, seconds: float = READ_SECONDS, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(
                method, self.url + path, timeout=(CONNECT_SECONDS, seconds), allow_redirects=False, **options
            )
        except requests.RequestException as error:
            raise Unreachable(f"Orthanc at {self.url} does not answer ({type(error).__name__}).") from error
        if answer.status_code in (401, 403):
            raise WrongPassword(
                f"Orthanc at {self.url} answers {answer.status_code}: user or password are wrong; "
                "give --user and --password-file."
            )
        if answer.status_code in (404, 410):
            raise Gone(f"Orthanc answers {answer.status_code} to {path}.")
        if answer.status_code in (400, 406, 413, 415, 422):
            raise Refused(f"Orthanc answers {answer.status_code} to {path}: {_details(answer)}")
        if not answer.ok:
            raise Unreachable(f"Orthanc answers {answer.status_code} to {path}: {_details(answer)}")
        return answer

    def _json(self, method: str, path: str, seconds: float = READ_SECONDS, **options: Any) -> Any:
        answer = self._ask(method, path, seconds, **options)
        try:
            return answer.json()
        except ValueError:
            raise Unreachable(f"{self.url}{path} answers no JSON; is this Orthanc?") from None

    def check(self) -> str:
        """Version of Orthanc.

        Raises:
            Unreachable: it does not answer.
            WrongPassword: not to this user.
        """
        try:
            return str(self._json("GET", "/system")["Version"])
        except (Gone, KeyError, TypeError):
            raise Unreachable(f"{self.url} is no Orthanc.") from None

    def modalities(self) -> list[str]:
        """Names of the DICOM receivers that Orthanc knows."""
        return list(self._json("GET", "/modalities"))

    def sources(self, level: str, resource: str) -> list[dict[str, Any]]:
        """Series with images of a series or study, as Orthanc describes them; without results of ours.

        Raises:
            Gone: it was deleted.
        """
        found = self._json("GET", f"/studies/{resource}/series" if level == "study" else f"/series/{resource}")
        return [one for one in (found if level == "study" else [found]) if is_source(one["MainDicomTags"])]

    def download(self, series: Sequence[dict[str, Any]], folder: Path) -> int:
        """Write all instances into a folder, named by Orthanc's identifiers; returns how many.

        Raises:
            Gone: one was deleted.
            OSError: no place.
        """
        names = [name for one in series for name in one["Instances"]]
        for name in names:
            if not NAME.fullmatch(name):
                raise Unreachable(f"{self.url} names an instance {name[:60]!r}; is this Orthanc?")
            answer = self._ask("GET", f"/instances/{name}/file", stream=True)
            try:
                with (folder / f"{name}.dcm").open("wb") as file:
                    for chunk in answer.iter_content(CHUNK):
                        file.write(chunk)
            except requests.RequestException as error:
                raise Unreachable(f"Orthanc at {self.url} ended a download ({type(error).__name__}).") from error
        return len(names)

    def store(self, path: Path) -> str:
        """Store an object; one that is there already stays. Returns Orthanc's identifier.

        Raises:
            Refused: Orthanc does not take it.
        """
        with path.open("rb") as file:
            answer = self._json("POST", "/instances", data=file, headers={"Content-Type": "application/dicom"})
        if answer.get("Status") not in ("Success", "AlreadyStored"):
            raise Refused(f"Orthanc has not stored {path.name}: {answer.get('Status')}.")
        return str(answer["ID"])

    def store_web(self, path: Path, uid: str) -> str:
        """Store an object by DICOMweb (STOW-RS), which Orthanc's plugin of that name offers.

        Args:
            path: of the object.
            uid: its SOP Instance UID.

        Raises:
            Refused: Orthanc does not take it, or has no DICOMweb.
        """
        boundary = secrets.token_hex(16)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        try:
            answer = self._json(
                "POST",
                "/dicom-web/studies",
                data=head + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode(),
                headers={
                    "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                    "Accept": "application/dicom+json",
                },
            )
        except Gone:
            raise Refused("Orthanc has no /dicom-web: install its DICOMweb plugin, or leave --dicomweb out.") from None
        found = [one["ID"] for one in self._json("POST", "/tools/lookup", data=uid) if one["Type"] == "Instance"]
        if answer.get(FAILED_SEQUENCE, {}).get("Value") or not found:
            raise Refused(f"Orthanc has not stored {path.name} by DICOMweb.")
        return str(found[0])

    def send(self, instances: Sequence[str], modality: str) -> None:
        """Let Orthanc send instances to a DICOM receiver (C-STORE) that its configuration names.

        Raises:
            Unreachable: the receiver does not take them now, or Orthanc does not know it.
        """
        body = {"Resources": list(instances), "Synchronous": True}
        try:
            self._json("POST", f"/modalities/{quote(modality, safe='')}/store", SEND_SECONDS, json=body)
        except (Gone, Refused):
            raise Unreachable(f"Orthanc knows no receiver {modality!r}; add it to its DicomModalities.") from None


def _details(answer: requests.Response) -> str:
    """What Orthanc says is wrong: its own words for the code of the error, which quote nothing of a study."""
    try:
        return str(answer.json()["Message"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.reason or "no reason"
