"""Credentials: who we are to a server, from the environment or a netrc file.

They go into one header of requests to one server, and nowhere else.
"""

from __future__ import annotations

import base64
import netrc
import os
from collections.abc import Mapping
from pathlib import Path

from requests import PreparedRequest
from requests.auth import AuthBase

from unetr_app.errors import InvalidRequest
from unetr_app.io.dicom.web.address import Address

USER, PASSWORD, TOKEN = "UNETR_DICOMWEB_USER", "UNETR_DICOMWEB_PASSWORD", "UNETR_DICOMWEB_TOKEN"


class Credentials(AuthBase):
    """Puts a header on requests to one server; requests to any other go without.

    Args:
        origin: Scheme, host and port of the server.
        header: The value of ``Authorization``; empty for nobody in particular.
    """

    def __init__(self, origin: str, header: str = ""):
        self._origin = origin
        self._header = header

    def __repr__(self) -> str:
        return "Credentials(...)"

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Add the header."""
        if self._header and f"{r.url}/".startswith(f"{self._origin}/"):
            r.headers["Authorization"] = self._header
        return r


def find_credentials(address: Address, environ: Mapping[str, str] | None = None) -> Credentials:
    """Look for a token, then for a name and password, then into the netrc file.

    Args:
        address: The server.
        environ: Environment variables; those of the process where None.

    Raises:
        InvalidRequest: If what is there is half, contradictory or cannot be read; the message does
            not repeat it.
    """
    env = os.environ if environ is None else environ
    token, user, password = (env.get(name, "") for name in (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise InvalidRequest(
            f"both {TOKEN} and {USER} or {PASSWORD} are set", cure="Unset those not meant."
        )
    if bool(user) != bool(password):
        raise InvalidRequest(
            f"of {USER} and {PASSWORD} one alone is set", cure="Set both, or neither."
        )
    if token:
        return Credentials(address.origin, f"Bearer {_sound(token.strip(), TOKEN)}")
    if user:
        return Credentials(address.origin, _basic(user, password))
    found = _from_netrc(address.host, env)
    return Credentials(address.origin, _basic(*found) if found else "")


def _basic(user: str, password: str) -> str:
    if ":" in user:
        raise InvalidRequest("a user's name for DICOMweb must not hold a colon", cure="Check it.")
    pair = f"{_sound(user, USER)}:{_sound(password, PASSWORD)}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _sound(secret: str, name: str) -> str:
    """The secret, if a header can carry it."""
    if not secret.isprintable() or (name == TOKEN and not (secret.isascii() and " " not in secret)):
        raise InvalidRequest(
            f"{name} holds characters that cannot be sent", cure="Check for line ends and blanks."
        )
    return secret


def _from_netrc(host: str, env: Mapping[str, str]) -> tuple[str, str] | None:
    named = env.get("NETRC", "")
    home = Path.home()
    for path in [Path(named)] if named else [home / ".netrc", home / "_netrc"]:
        if not path.is_file():
            continue
        try:
            entry = netrc.netrc(path).authenticators(host)
        except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
            raise InvalidRequest(  # the parser's own words repeat what is in the file
                "the netrc file cannot be read",
                cure="Check its format and permissions, or name another one in NETRC.",
                path=path,
            ) from None
        return (entry[0] or entry[1], entry[2]) if entry and entry[2] else None
    return None
