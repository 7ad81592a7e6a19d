"""One file over HTTP: resumed where it broke off, checked before it gets its name."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from monai.apps.utils import check_hash
from tqdm import tqdm

__all__ = ["FetchError", "fetch"]

CHUNK = 1 << 20
RESUMABLE = 206
BEYOND_THE_END = 416


class FetchError(RuntimeError):
    """A file that could not be fetched or is not the published one; the message says what to do."""


def _stream(url: str, part: Path, timeout: float) -> None:
    """Append what is missing to ``part``; a server without ranges sends the file anew."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.build_opener().open(request, timeout=timeout)  # urlopen would keep old proxies
    except urllib.error.HTTPError as error:
        if error.code == BEYOND_THE_END and done:  # complete already; the checksum decides
            return
        raise
    with response:
        resumed = response.status == RESUMABLE
        start = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"broke off after {part.stat().st_size} of {total} bytes")


def fetch(url: str, target: Path, md5: str, tries: int = 5, timeout: float = 30.0, wait: float = 2.0) -> Path:
    """Fetch ``url`` to ``target``; a ``target.part`` left by an earlier try is continued with a range request.

    Proxies are those of the environment (``https_proxy``, ``no_proxy``). The file gets its name only when its MD5 is
    the published one.

    Args:
        url: where it lies.
        target: where it goes; an existing file with the right MD5 is left alone.
        md5: published sum.
        tries: connections to make before giving up; each goes on where the last broke off.
        timeout: seconds without an answer.
        wait: seconds before the second try, doubled before each further one.

    Raises:
        FetchError: no connection, an error of the server, or a wrong checksum.
    """
    if target.exists():
        if check_hash(target, md5, "md5"):
            return target
        raise FetchError(f"{target} exists but its MD5 is not {md5}; move it away and fetch again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, tries + 1):
        try:
            _stream(url, part, timeout)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise FetchError(f"{url}: the server answered {error.code} {error.reason}.") from error
            reason: Exception = error
        except (OSError, HTTPException) as error:  # no network, a reset, a timeout
            reason = error
        if attempt == tries:
            raise FetchError(
                f"{url}: {reason}. What has arrived lies in {part}; run again to go on. Behind a proxy set "
                "https_proxy; without network fetch the file elsewhere and use --from-dir."
            ) from reason
        time.sleep(wait * 2 ** (attempt - 1))
    if not check_hash(part, md5, "md5"):
        part.unlink()
        raise FetchError(f"{url}: the MD5 of what arrived is not the published {md5}; it was removed. Run again.")
    os.replace(part, target)
    return target
