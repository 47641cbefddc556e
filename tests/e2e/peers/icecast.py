"""Icecast on a free port of loopback, as nobody: what castd is compared with, and what these tests are tried on."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.sax.saxutils import escape

from tests.e2e.client import get
from tests.e2e.program import Program, until
from tests.e2e.server import ADMIN_PASSWORD, READY_SECONDS, SOURCE_PASSWORD

DATA = Path("/usr/share/icecast2")
"""Debian's pages and templates; status-json.xsl is one of them."""

CONFIG = """\
<icecast>
  <limits>
    <clients>{clients}</clients> <sources>1000</sources>
    <queue-size>2097152</queue-size> <burst-size>65536</burst-size> <source-timeout>10</source-timeout>
  </limits>
  <authentication>
    <source-password>{source}</source-password> <relay-password>{source}</relay-password>
    <admin-user>admin</admin-user> <admin-password>{admin}</admin-password>
  </authentication>
  <location>Earth</location> <admin>admin@example.net</admin>
  <hostname>127.0.0.1</hostname>
  <listen-socket> <port>{port}</port> <bind-address>127.0.0.1</bind-address> </listen-socket>
  {tls}
  {extra}
  <mount type="default"> <charset>UTF-8</charset> </mount>
  <paths>
    <basedir>{data}</basedir> <webroot>{webroot}</webroot> <adminroot>{data}/admin</adminroot>
    <logdir>{logs}</logdir> {certificate}
    <alias source="/" destination="/index.html"/>
  </paths>
  <logging> <accesslog>access.log</accesslog> <errorlog>error.log</errorlog> <loglevel>3</loglevel> </logging>
</icecast>
"""


class Icecast:
    """An Icecast server; it has the source and admin passwords the tests give castd.

    Args:
        folder: takes the logs once it has ended.
        webroot: the folder of its pages.
        clients: at most.
        extra: more elements of its configuration.
        certificate: PEM file of certificate and key, readable by anybody; with it there is a port for TLS, too.
        port: to listen on; None for any.
        environment: added to ours.
    """

    def __init__(
        self,
        folder: Path,
        webroot: Path = DATA / "web",
        clients: int = 200,
        certificate: Path | None = None,
        extra: str = "",
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._webroot = webroot
        self._clients = clients
        self._certificate = certificate
        self._extra = extra
        self.tls_port = free_port()
        self.address = f"http://127.0.0.1:{port or free_port()}"

    async def __aenter__(self) -> Self:
        self._private = Path(tempfile.mkdtemp(prefix="castd-icecast."))  # nobody cannot enter pytest's folders
        self._private.chmod(0o777)
        config = self._private / "icecast.xml"
        tls, certificate = "", ""
        if self._certificate:
            address = "<bind-address>127.0.0.1</bind-address> <ssl>1</ssl>"
            tls = f"<listen-socket> <port>{self.tls_port}</port> {address} </listen-socket>"
            certificate = f"<ssl-certificate>{escape(str(self._certificate))}</ssl-certificate>"
        config.write_text(
            CONFIG.format(
                tls=tls,
                extra=self._extra,
                certificate=certificate,
                clients=self._clients,
                source=SOURCE_PASSWORD,
                admin=ADMIN_PASSWORD,
                port=self.address.rpartition(":")[2],
                data=escape(str(DATA)),
                webroot=escape(str(self._webroot)),
                logs=escape(str(self._private)),
            )
        )
        self._program = Program(
            ["icecast2", "-c", config], self._private / "output", environment=self._environment, unprivileged=True
        )
        await self._program.__aenter__()
        await until(self._ready, seconds=READY_SECONDS, what="Icecast")
        return self

    @property
    def pid(self) -> int:
        return self._program.process.pid

    async def _ready(self) -> bool:
        """Until it knows its own name its status is no JSON."""
        assert self._program.running, self._program.text()
        try:
            return b"server_id" in (await get(f"{self.address}/status-json.xsl")).body
        except OSError:
            return False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._program.stop()
        shutil.copytree(self._private, self._folder / "icecast", dirs_exist_ok=True)
        shutil.rmtree(self._private)


def free_port() -> int:
    """A port nobody listens on, for programs that cannot be told to take any."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
