"""nginx as a cache in front of castd, configured by the text of docs/hls.md and nothing else."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.e2e.peers.icecast import free_port
from tests.e2e.program import Program, until

DOCUMENT = Path(__file__).parents[3] / "docs" / "hls.md"

AROUND = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 2000; }}
http {{
    log_format asked '$upstream_cache_status $request_uri $upstream_status';
    access_log {folder}/access.log asked;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        {server}
    }}
}}
"""

READY_SECONDS = 10.0


class NginxCache:
    """A running nginx; entering starts it, leaving stops it.

    Args:
        castd: http://host:port of castd.
        log: takes what nginx prints.

    Attributes:
        address: http://host:port of nginx.
    """

    def __init__(self, castd: str, log: Path) -> None:
        self._log = log
        self._port = free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        http, server = re.findall(r"^```nginx\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
        self._http = http.replace("127.0.0.1:8000", urlsplit(castd).netloc)
        self._server = server

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="castd-cache."))  # nobody cannot enter pytest's folders
        self._folder.chmod(0o777)
        config = self._folder / "config"
        http = self._http.replace("/var/cache/nginx", str(self._folder))
        config.write_text(AROUND.format(folder=self._folder, port=self._port, http=http, server=self._server))
        command = ["nginx", "-p", str(self._folder), "-e", "stderr", "-c", str(config)]
        self._program = Program(command, self._log, unprivileged=True)
        await self._program.__aenter__()
        try:
            await until(lambda: self._program.accepts(self._port), seconds=READY_SECONDS, what="nginx")
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    @property
    def answered(self) -> int:
        """Requests so far; nginx tells of one when its client has the answer, or soon after."""
        return len(self._lines())

    def asked_of_castd(self) -> list[str]:
        """The requests so far that went on to castd: those that did not hit."""
        return [target for _, target, passed in self._lines() if passed != "-"]

    def _lines(self) -> list[tuple[str, str, str]]:
        whole, _, _ = (self._folder / "access.log").read_text().rpartition("\n")
        return [(line.split()[0], line.split()[1], line.split()[2]) for line in whole.splitlines()]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._program.stop()
        shutil.rmtree(self._folder)
