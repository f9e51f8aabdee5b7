"""A data set on the Hugging Face hub: its files, checked against the checksums it names, and downloaded with resume.

`hf_hub_download` goes on after a broken connection within one call, but deletes what it has when the call ends
(huggingface_hub 2.4.0, `_download_to_tmp_and_move`): the next call would start archives of gigabytes over. So the part
that came is kept beside the file, and `http_get`, on which `hf_hub_download` stands, asks for the rest of it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from linmem_langgraph.errors import ConfigError

SECONDS = 30
"""How long the hub may take to say what a data set holds."""

_SHA256 = 64


class HubFile(NamedTuple):
    """A file of a data set.

    Args:
        name: its path in the data set.
        size: bytes.
        checksum: SHA-256 of a file in LFS, git's SHA-1 of any other, as hex digits.
    """

    name: str
    size: int
    checksum: str

    def is_at(self, path: Path) -> bool:
        """Whether a file of this content is at `path`."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, self._digest)
        return digest.hexdigest() == self.checksum

    def part(self, folder: Path) -> Path:
        """Where the bytes that came are kept until all did."""
        target = folder / self.name
        return target.with_name(f"{target.name}.{self.checksum[:12]}.part")

    def _digest(self) -> Any:
        if len(self.checksum) == _SHA256:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)


class DataSet(NamedTuple):
    """What the hub says of a data set.

    Args:
        commit: the version that is meant.
        licence: as the data set's card names it; None = it names none.
        endpoint: the hub's address.
    """

    name: str
    commit: str
    licence: str | None
    files: tuple[HubFile, ...]
    endpoint: str


def data_set(name: str, endpoint: str | None = None) -> DataSet:
    """What the hub says of a data set; no file is requested.

    Args:
        endpoint: the hub's address; None = `HF_ENDPOINT`, or the public hub.

    Raises:
        ConfigError: the hub cannot be reached, has no such data set, or names no checksums; or huggingface-hub is not
            installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as exc:
        raise ConfigError("downloads need huggingface-hub: pip install 'linmem-langgraph[evals]'") from exc
    api = HfApi(endpoint=endpoint)
    remedy = "check the connection and HF_ENDPOINT, or give a local copy with --from"
    with _hub(f"{api.endpoint} does not say what {name} holds", remedy):
        try:
            found = api.dataset_info(name, files_metadata=True, timeout=SECONDS)
            files = tuple(_file(sibling) for sibling in found.siblings or ())
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise OSError(f"its reply is not understood ({type(exc).__name__}: {exc})") from exc
    return DataSet(name, str(found.sha), _licence(found.card_data), files, api.endpoint)


def download(data: DataSet, file: HubFile, folder: Path) -> bool:
    """Bring a file into a folder, from where an earlier call stopped; False = what came is wrong, and was deleted.

    Raises:
        ConfigError: the transfer broke off; what came of it is kept.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented, not in its __all__

    part = file.part(folder)
    url = hf_hub_url(data.name, file.name, repo_type="dataset", revision=data.commit, endpoint=data.endpoint)
    # Of a file that is compressed on the way no part could be asked for.
    headers = build_hf_headers(headers={"accept-encoding": "identity"})
    with _hub(f"the download of {file.name} stopped", f"call again; what came is kept in {part}"):
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as content:
            if (have := content.tell()) < file.size:
                http_get(url, content, resume_size=have, headers=headers, displayed_filename=file.name)
        if right := file.is_at(part):
            part.replace(folder / file.name)
        else:
            part.unlink()
    return right


def _file(sibling: Any) -> HubFile:
    checksum = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if sibling.size is None or not checksum:
        raise ValueError(f"no size or checksum of {sibling.rfilename}")
    return HubFile(sibling.rfilename, sibling.size, checksum)


def _licence(card: Any) -> str | None:
    fields = card.to_dict() if card else {}
    named = [fields[key] for key in ("license", "license_name", "license_link") if fields.get(key)]
    return ", ".join(" and ".join(map(str, each)) if isinstance(each, list) else str(each) for each in named) or None


@contextmanager
def _hub(problem: str, remedy: str) -> Iterator[None]:
    """Whatever goes wrong between us and the hub, as one line."""
    from httpx2 import HTTPError, InvalidURL

    try:
        yield
    except (HTTPError, InvalidURL, OSError) as exc:
        why = " ".join(str(exc).split()) or type(exc).__name__
        raise ConfigError(f"{problem}: {why:.300}: {remedy}") from exc
