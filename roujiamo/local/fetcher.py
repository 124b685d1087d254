"""Brings a task's URIs into its sandbox: copies, downloads, marks executable, unpacks.

Runs in a process of its own, a child of the task's executor, as the task's user; what it says goes to the sandbox's
stderr. The URIs come from a framework. What a Mesos fetcher does beyond that (caches, hdfs, ftp) is not here.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

# A server that says nothing for so long is not going to.
STALL_SECONDS = 60.0

_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


class FetchError(Exception):
    """One URI could not be had."""


def fetch_all(uris: list[dict[str, Any]], directory: Path) -> int:
    """Fetch every URI into `directory`; return 0, or 1 with a sentence on stderr."""
    for uri in uris:
        try:
            _fetch(uri, directory)
        except Exception as error:  # noqa: BLE001  whatever a strange archive or server causes, it is this URI's fault
            sys.stderr.write(f"Failed to fetch '{uri['value']}': {error}\n")
            sys.stderr.flush()
            return 1
    return 0


def _fetch(uri: dict[str, Any], directory: Path) -> None:
    value = uri["value"].strip()
    name = uri.get("output_file") or unquote(urlsplit(value).path).rpartition("/")[2]
    if not name or name in (".", "..") or Path(name).is_absolute() or ".." in Path(name).parts:
        raise FetchError("its file has no usable name")
    target = directory / name
    target.parent.mkdir(parents=True, exist_ok=True)
    scheme = urlsplit(value).scheme
    if scheme in ("http", "https"):
        _download(value, target)
    elif scheme in ("", "file"):
        _copy(value.removeprefix("file://"), target)
    else:
        raise FetchError(f"this cluster fetches file, http and https, not {scheme}")
    if uri.get("executable"):
        target.chmod(target.stat().st_mode | 0o111)
    elif uri.get("extract", True):
        _extract(target, directory)


def _copy(source: str, target: Path) -> None:
    path = Path(source)
    if not path.is_absolute():
        raise FetchError("a path must be absolute")
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy(path, target)


def _download(url: str, target: Path) -> None:
    # Loaded here, as the archive modules below: every cluster would pay for them, and few tasks have URIs.
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=STALL_SECONDS) as response, target.open("wb") as file:
            shutil.copyfileobj(response, file)
    except urllib.error.URLError as error:
        raise FetchError(str(error)) from error


def _extract(archive: Path, directory: Path) -> None:
    name = archive.name.lower()
    if name.endswith(_TAR_ENDINGS):
        import tarfile

        with tarfile.open(archive) as tar:
            # Pythons since the summer of 2023 know filters; "data" keeps members inside the folder.
            if hasattr(tarfile, "data_filter"):
                tar.extractall(directory, filter="data")
            else:
                tar.extractall(directory)
    elif name.endswith(".zip"):
        import zipfile

        with zipfile.ZipFile(archive) as packed:
            packed.extractall(directory)
            for member in packed.infolist():
                # zipfile drops the permissions that unzip keeps.
                mode = member.external_attr >> 16
                if mode and not member.is_dir():
                    os.chmod(directory / member.filename, mode & 0o777)
    elif name.endswith(".gz"):
        import gzip

        with gzip.open(archive) as packed_file, (directory / archive.name[:-3]).open("wb") as file:
            shutil.copyfileobj(packed_file, file)
