"""Session: HTTP with one server, and nothing that it says is followed or believed.

No redirects, no cookies' or netrc's own ways, no packed answers, TLS always verified, every answer
limited in length and time.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from unetr_app.errors import InvalidRequest, RemoteFailure
from unetr_app.io.dicom.web.address import Address
from unetr_app.io.dicom.web.body import Body
from unetr_app.io.dicom.web.credentials import Credentials
from unetr_app.io.dicom.web.limits import Limits
from unetr_app.io.dicom.web.refusals import CONFLICT, failure_of, require_success
from unetr_app.io.dicom.web.watch import WatchedAdapter


class Session(requests.Session):
    """A session of `requests` for one server.

    What a server refuses, and what goes wrong on the way, comes out as `RemoteFailure` from every
    method, so that a library that is given this session raises it too.

    Args:
        address: The server; requests to any other are refused.
        credentials: Who asks.
        limits: What is taken from it.

    Raises:
        InvalidRequest: If ``REQUESTS_CA_BUNDLE`` names nothing.
    """

    def __init__(self, address: Address, credentials: Credentials, limits: Limits):
        super().__init__()
        self._address = address
        self._limits = limits
        self._most = limits.answer_bytes
        self._adapter = WatchedAdapter()
        self.mount("https://", self._adapter)
        self.mount("http://", self._adapter)
        self.trust_env = False  # it would take passwords from netrc for any host, and turn TLS off
        self.auth = credentials
        self.verify = _certificates()
        self.proxies = {} if address.is_loopback else _proxies(address)
        self.headers["Accept-Encoding"] = "identity"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No redirect leads anywhere; else `requests` would read its body to the end."""
        return

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request and wait for the answer's headers.

        Raises:
            PassingFailure: If trying again may help.
            RemoteFailure: If the server refuses, or answers what is not HTTP.
        """
        if not f"{request.url}/".startswith(f"{self._address.origin}/"):
            raise RemoteFailure("a request was to go to another server", cure="Check the address.")
        request.headers.pop("Host", None)  # dicomweb-client's own leaves out the port
        limits = self._limits
        kwargs.update(
            stream=True,
            allow_redirects=False,
            timeout=(limits.connect_seconds, limits.read_seconds),
        )
        upload = int(request.headers.get("Content-Length") or 0)
        patience = limits.answer_seconds + upload / limits.least_rate
        try:
            with self._adapter.within(patience, self._address.host):
                response = super().send(request, **kwargs)
        except (OSError, HTTPError) as error:  # OSError is the base of the errors of requests
            raise failure_of(error, self._address.host) from error
        if request.method != "POST" or response.status_code != CONFLICT:  # which says what failed
            require_success(response)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            response.close()
            raise RemoteFailure(
                "the server packs its answer although it was asked not to",
                cure="Have it, or the proxy before it, not compress answers.",
            )
        response.raw = Body(response.raw, self._most, limits)
        return response

    @contextmanager
    def allowing(self, most: int) -> Generator[None]:
        """A block of code in which answers may have up to ``most`` bytes."""
        self._most = most
        try:
            yield
        finally:
            self._most = self._limits.answer_bytes

    @contextmanager
    def told(self) -> Generator[None]:
        """A block of code that takes an answer: not for ever, and with failures told in our words.

        Raises:
            RemoteFailure: If the connection fails.
        """
        try:
            with self._adapter.within(self._limits.body_seconds, self._address.host):
                yield
        except requests.RequestException as error:
            raise failure_of(error, self._address.host) from error


def _certificates() -> str | bool:
    named = os.environ.get("REQUESTS_CA_BUNDLE", "")
    if named and not os.path.exists(named):
        raise InvalidRequest(
            "REQUESTS_CA_BUNDLE names no file of certificates", cure="Correct or unset it.",
            path=named,
        )  # fmt: skip
    return named or True


def _proxies(address: Address) -> dict[str, str]:
    """Proxies of the environment, as ``HTTPS_PROXY`` and ``NO_PROXY`` have them."""
    return dict(get_environ_proxies(address.url))
