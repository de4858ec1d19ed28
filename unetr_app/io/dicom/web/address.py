"""Address: where a DICOMweb server is, in the words of the command line."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from unetr_app.errors import InvalidRequest

_SCHEMES = {"dicomweb": "https", "dicomweb+https": "https", "dicomweb+http": "http"}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
_PATH = re.compile(r"(/[A-Za-z0-9._~%+-]+)*")
_FORM = "Write dicomweb://HOST[:PORT]/PATH, such as dicomweb://pacs.example.org/dicom-web."


def is_address(text: str) -> bool:
    """Is an input meant as an address on a network, well written or not?

    Example:
        >>> is_address("dicomweb://pacs.example.org/dicom-web"), is_address("scans/a.nii.gz")
        (True, False)
    """
    return re.match(r"(dicomweb(\+\w*)?|https?):", text, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Address:
    """A DICOMweb server; nothing secret is ever part of it.

    Args:
        scheme: ``https`` or ``http``.
        host: A name or number, without brackets.
        port: None for the scheme's own.
        path: Of the service, with a leading and no trailing slash, or empty.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, text: str, *, plain_http: bool = False) -> Address:
        """Read an address; no message about it repeats what it says before the host.

        Args:
            text: ``dicomweb://`` (TLS) or ``dicomweb+http://``, host, port, path of the service.
            plain_http: Allow unencrypted connections to other machines than this one.

        Raises:
            InvalidRequest: If it is no such address, holds a name, password or query, or would
                send images over a network unencrypted.

        Example:
            >>> Address.parse("dicomweb://pacs.example.org:8443/dicom-web/").url
            'https://pacs.example.org:8443/dicom-web'
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise InvalidRequest("the DICOMweb address cannot be read", cure=_FORM) from None
        if "@" in text or "\\" in text:
            raise InvalidRequest(
                "a DICOMweb address must not hold a user's name or password",
                cure="Set UNETR_DICOMWEB_USER and UNETR_DICOMWEB_PASSWORD, or use a netrc file.",
            )
        if parts.query or parts.fragment or "?" in text or "#" in text:
            raise InvalidRequest(
                "a DICOMweb address ends with its path; there is more",
                cure=f"{_FORM} A token goes into UNETR_DICOMWEB_TOKEN.",
            )
        scheme = _SCHEMES.get(parts.scheme)
        path = parts.path.rstrip("/")
        if scheme is None or not _is_host(host) or not _is_path(path) or not text.isprintable():
            raise InvalidRequest("the DICOMweb address cannot be read", cure=_FORM)
        found = cls(scheme, host, port, path)
        if scheme == "http" and not (plain_http or found.is_loopback):
            raise InvalidRequest(
                f"dicomweb+http:// would send images to {host} over the network unencrypted",
                cure="Use dicomweb://; or, in a network that you trust, add --plain-http.",
            )
        return found

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port is None else f":{self.port}")

    @property
    def url(self) -> str:
        """Where the service is, as HTTP has it."""
        return self.origin + self.path

    def __str__(self) -> str:
        return self.url.replace("http", "dicomweb+http", 1).replace("+https", "", 1)

    @property
    def is_loopback(self) -> bool:
        """Is the server on this machine?"""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _is_host(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return _HOST.fullmatch(host) is not None and ".." not in host


def _is_path(path: str) -> bool:
    dots = {".", ".."} & set(path.split("/"))
    return _PATH.fullmatch(path) is not None and not dots
