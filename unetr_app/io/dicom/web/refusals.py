"""Refusal: what an HTTP status, or a connection that fails, means to the user."""

from __future__ import annotations

import email.utils
import time

import requests

from unetr_app.errors import InvalidRequest, RemoteFailure, UnetrError
from unetr_app.io.dicom.web.credentials import PASSWORD, TOKEN, USER
from unetr_app.io.dicom.web.retries import PassingFailure

NOT_ACCEPTABLE, CONFLICT = 406, 409

_ASK = "Ask those who run the server."
_CAUSES = {
    400: ("does not understand the request", _ASK),
    401: ("wants to know who asks, or does not know the name, password or token",
          f"Set {TOKEN}, or {USER} and {PASSWORD}, or add the host to your netrc file."),
    403: ("does not allow this to the user who asks", _ASK),
    404: ("has nothing there",
          "Check the UIDs, and the path of the address: many servers need one, such as "
          "/dicom-web."),
    NOT_ACCEPTABLE: ("does not offer the form that we asked for", _ASK),
    407: ("is behind a proxy that wants to know who asks", "Check HTTPS_PROXY."),
    413: ("refuses what is so large", _ASK),
}  # fmt: skip


class Refusal(RemoteFailure):
    """The server was asked, and says no for good.

    Args:
        what: As for `RemoteFailure`.
        cure: As for `RemoteFailure`.
        status: HTTP status code.
    """

    def __init__(self, what: str, *, cure: str = "", status: int):
        super().__init__(what, cure=cure)
        self.status = status


def require_success(response: requests.Response) -> None:
    """Let an answer pass only if the server did what it was asked.

    The body of a refusal is not read: it is long at times, and holds what it likes.

    Raises:
        PassingFailure: If the server is busy or broken (429, 5xx).
        Refusal: If it refuses.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    response.close()
    if status == 429 or status >= 500:
        what = "is asked too often" if status == 429 else "failed by its own account"
        raise PassingFailure(
            f"the server {what} (HTTP {status})", cure="Try again later; the log of the server "
            "may say more.", after=_seconds(response.headers.get("Retry-After", "")), reached=True,
        )  # fmt: skip
    if 300 <= status < 400:
        raise Refusal(
            f"the server sends us on to another address (HTTP {status}), where we do not follow",
            cure="Give the address that it stands at now; dicomweb:// where it wants encryption.",
            status=status,
        )
    what, cure = _CAUSES.get(status, ("refuses", _ASK))
    raise Refusal(f"the server {what} (HTTP {status})", cure=cure, status=status)


def failure_of(error: Exception, host: str) -> UnetrError:
    """What a failed connection is, in our words."""
    if isinstance(error, requests.exceptions.SSLError):
        return RemoteFailure(
            f"the encrypted connection to {host} cannot be trusted",
            cure="Check the host's name; name the certificates that vouch for it in "
            "REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return PassingFailure(f"the proxy on the way to {host} fails", cure="Check HTTPS_PROXY.")
    if isinstance(error, requests.exceptions.Timeout):
        return PassingFailure(f"{host} does not answer in time", cure="Check that it runs.")
    if isinstance(error, (requests.exceptions.ConnectionError,
                          requests.exceptions.ChunkedEncodingError)):  # fmt: skip
        return PassingFailure(
            f"there is no connection to {host}, or it broke off",
            cure="Check host and port, that the server runs, and that a firewall lets it through.",
        )
    if isinstance(error, OSError) and "certificate" in str(error).lower():
        return InvalidRequest(
            "REQUESTS_CA_BUNDLE names no file of certificates", cure="Correct or unset it."
        )
    return RemoteFailure(f"what {host} answers is not HTTP as it should be", cure=_ASK)


def _seconds(text: str) -> float:
    """A ``Retry-After``: seconds, or a date (RFC 9110, 10.2.3)."""
    if text.isascii() and text.isdigit():
        return float(text[:6])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0
