"""Watch: connections that are cut when they take too long, however busy the other side keeps them.

Timeouts of sockets start anew with each byte; a server that sends one now and then would hold us
for ever.
"""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from unetr_app.errors import RemoteFailure
from unetr_app.io.dicom.web.retries import PassingFailure

Sockets = weakref.WeakSet[socket.socket]


class WatchedAdapter(HTTPAdapter):
    """Connections whose sockets can be cut from another thread."""

    def __init__(self) -> None:
        self._sockets: Sockets = weakref.WeakSet()
        self._pools = _pool_classes(self._sockets)
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager, with our connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """A manager for connections through a proxy, with our connections."""
        manager: Any = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    @contextmanager
    def within(self, seconds: float, host: str) -> Generator[None]:
        """A block of code whose connections are cut after some seconds.

        Raises:
            PassingFailure: If they were.
        """
        late = threading.Event()
        timer = threading.Timer(seconds, self._cut, (late,))
        timer.daemon = True
        timer.start()
        try:
            yield
        except (requests.RequestException, OSError, RemoteFailure) as error:
            if late.is_set():
                raise self._late(seconds, host) from error
            raise
        finally:
            timer.cancel()
        if late.is_set():  # headers that were cut look like headers that end
            raise self._late(seconds, host)

    @staticmethod
    def _late(seconds: float, host: str) -> PassingFailure:
        return PassingFailure(
            f"{host} keeps us waiting for more than {seconds:.0f} seconds",
            cure="Try again later; the log of the server may say more.",
        )

    def _cut(self, late: threading.Event) -> None:
        late.set()
        for connected in list(self._sockets):
            with suppress(OSError):  # not TLS's own shutdown, which another thread may not call
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _pool_classes(sockets: Sockets) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(_socket_of(self))

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(_socket_of(self))

    class PlainPool(HTTPConnectionPool):
        ConnectionCls: Any = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls: Any = Secure

    return {"http": PlainPool, "https": SecurePool}


def _socket_of(connection: Any) -> socket.socket:
    return connection.sock
