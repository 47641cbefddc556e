"""Reverse proxies before castd, each on free ports of loopback, configured as docs/proxies.md tells operators to.

nginx and HAProxy connect to castd from PROXY_ADDRESS.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.e2e.peers.icecast import free_port
from tests.e2e.program import Program, until

PROXY_ADDRESS = "127.0.0.2"

READY_SECONDS = 10.0

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr info;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;

    proxy_bind {PROXY_ADDRESS};
    proxy_http_version 1.1;
    proxy_buffering off;
    proxy_request_buffering off;
    client_max_body_size 0;
    client_body_timeout 1m;
    proxy_read_timeout 1m;
    proxy_send_timeout 1m;

    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Prefix $prefix;

    server {{
        listen 127.0.0.1:{http};
        server_name localhost;
        set $prefix "";
        location / {{ proxy_pass http://{castd}; }}
        location /radio/ {{
            set $prefix /radio;
            proxy_pass http://{castd}/;
        }}
    }}
}}
"""

HAPROXY = """\
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    option http-no-delay

frontend http
    bind 127.0.0.1:{http}
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Forwarded-Prefix /radio if {{ path_beg /radio/ }}
    http-request del-header X-Forwarded-Prefix unless {{ path_beg /radio/ }}
    http-request replace-path /radio(/.*) \\1
    default_backend castd
backend castd
    server castd {castd} source {PROXY_ADDRESS}

listen v1
    mode tcp
    bind 127.0.0.1:{v1}
    server castd {castd_proxy} source {PROXY_ADDRESS} send-proxy
listen v2
    mode tcp
    bind 127.0.0.1:{v2}
    server castd {castd_proxy} source {PROXY_ADDRESS} send-proxy-v2
"""

CADDY = """\
{{
    admin off
    auto_https off
}}
http://:{http} {{
    bind 127.0.0.1
    handle_path /radio/* {{
        reverse_proxy {castd} {{
            header_up X-Forwarded-Prefix /radio
            flush_interval -1
        }}
    }}
    reverse_proxy {castd} {{
        header_up -X-Forwarded-Prefix
        flush_interval -1
    }}
}}
"""


class Proxy:
    """A running proxy; entering starts it, leaving stops it.

    Args:
        name: "nginx", "haproxy" or "caddy".
        castd: http://host:port of castd.
        castd_proxy: the same of its listener for the PROXY protocol.
        log: takes what the proxy prints.

    Attributes:
        addresses: http://host:port of each way through it: "http"; HAProxy's in tcp mode are "v1" and "v2".
    """

    def __init__(self, name: str, castd: str, castd_proxy: str, log: Path) -> None:
        self._name = name
        self._log = log
        ports = {way: free_port() for way in ("http", "v1", "v2")}
        self.addresses: Mapping[str, str] = {way: f"http://127.0.0.1:{port}" for way, port in ports.items()}
        self._values = {
            "castd": urlsplit(castd).netloc,
            "castd_proxy": urlsplit(castd_proxy).netloc,
            "PROXY_ADDRESS": PROXY_ADDRESS,
            **{way: str(port) for way, port in ports.items()},
        }

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="castd-proxy."))  # nobody cannot enter pytest's folders
        self._folder.chmod(0o777)
        config = self._folder / "config"
        ways: dict[str, tuple[str, list[str]]] = {
            "nginx": (NGINX, ["nginx", "-p", str(self._folder), "-e", "stderr", "-c"]),
            "haproxy": (HAPROXY, ["haproxy", "-db", "-f"]),
            "caddy": (CADDY, ["caddy", "run", "--adapter", "caddyfile", "--config"]),
        }
        text, command = ways[self._name]
        config.write_text(text.format(folder=self._folder, **self._values))
        home = {"HOME": self._folder, "XDG_DATA_HOME": self._folder, "XDG_CONFIG_HOME": self._folder}
        self._program = Program([*command, config], self._log, environment=home, unprivileged=True)
        await self._program.__aenter__()
        try:
            port = int(self._values["http"])
            await until(lambda: self._program.accepts(port), seconds=READY_SECONDS, what=self._name)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._program.stop()
        shutil.rmtree(self._folder)
