"""The command line: castd run, check, import, reload, upgrade, healthcheck, explain, link, password, token.

Exit codes: 0 stopped as asked, 2 wrong arguments or configuration, 130 interrupted; anything else is a bug, with its
traceback. A health check ends with 0 or 1 and nothing else, as Docker has it; `explain` with 1 where it does
not know the id, `reload` and `upgrade` with 1 where no server answers.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import resource
import select
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

from castd import __version__, privileges
from castd.access.scopes import EVERYTHING, OF_MOUNTS, SCOPES
from castd.config import Config, load
from castd.errors import ConfigError
from castd.log import escape
from castd.log import set_up as set_up_log

if TYPE_CHECKING:
    from castd.access.secrets import Secrets

log = logging.getLogger(__name__)

DEFAULT_CONFIG = Path("/etc/castd/castd.toml")
"""Read if it exists and no other is named."""

SPARE_DESCRIPTORS = 100
"""Beyond one for each listener: sources, the status page, connections that are still asking, castd's own."""

OK, UNHEALTHY, UNKNOWN, UNUSABLE, INTERRUPTED = 0, 1, 1, 2, 130

EXAMPLE_MOUNT = "/live"

UPGRADE_SECONDS = 90.0
"""For the new process to load, and to be handed everything."""

UPGRADED = """\
process {pid} goes on with everything; nobody was served for {milliseconds} ms
  {mounts} mounts, {sources} sources, {listeners} listeners, {talks} waiting connections
"""

ADDRESSES = """\
castd {version} is ready.

  page     {url}/
  status   {url}/status-json.xsl
"""

FIRST_STEPS = """
  Send music:
    ffmpeg -re -i song.mp3 -c copy -content_type audio/mpeg -f mp3 icecast://{user}:{password}@{address}{mount}
  Listen:
    {url}{mount}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: without the program's name; None means the process's own.

    Returns:
        The exit code.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return UNUSABLE
    set_up_log(arguments.log_format, arguments.log_level)
    path = arguments.config or (DEFAULT_CONFIG if DEFAULT_CONFIG.exists() else None)
    code = OK
    # The server's errors arrive in groups, one for each nursery they crossed; except* takes them out of any depth.
    try:
        if arguments.command == "healthcheck":
            code = _healthcheck(path, arguments.url)
        elif arguments.command == "explain":
            code = _explain(arguments.id, load(path, os.environ))
        elif arguments.command == "import":
            code = _import(arguments.file, arguments.output)
        elif arguments.command == "link":
            code = _link(load(path, os.environ), arguments.mount, arguments.hours, arguments.user)
        elif arguments.command == "password":
            code = _password(arguments.user)
        elif arguments.command == "token":
            code = _token(load(path, os.environ), arguments)
        elif arguments.command == "reload":
            code = _reload(load(path, os.environ), trial=arguments.trial)
        elif arguments.command == "upgrade":
            code = _upgrade(load(path, os.environ))
        elif arguments.command == "check":
            _say(_summary(path, load(path, os.environ)))
        else:
            _run(path)
    except* ConfigError as group:
        code = UNHEALTHY if arguments.command == "healthcheck" else UNUSABLE
        for error in _leaves(group):
            print(f"castd: {error}".replace("\n", "\ncastd: "), file=sys.stderr)
    except* KeyboardInterrupt:
        code = INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="castd", description="A live-audio streaming server, compatible with Icecast."
    )
    parser.add_argument("--version", action="version", version=f"castd {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="FILE",
        help=f"configuration; without it {DEFAULT_CONFIG} if that exists, else the defaults",
    )
    common.add_argument(
        "--log-format",
        choices=("auto", "journal", "json", "plain"),
        default="auto",
        help="of the log on standard error; auto: readable on a terminal, journal under systemd, else plain "
        "(default: %(default)s)",
    )
    common.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="the least level logged (default: %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in (("run", "start the server"), ("check", "say whether a configuration can be used, and end")):
        commands.add_parser(name, parents=[common], help=text, description=f"{text.capitalize()}.")
    text = "ask the server on this machine whether it is alive; exit code 0 or 1"
    health = commands.add_parser("healthcheck", parents=[common], help=text, description=f"{text.capitalize()}.")
    health.add_argument("--url", help="where to ask; without it, the first [[listen]] address of the configuration")
    text = "have the running server read its configuration again, or say why it cannot be used"
    again = commands.add_parser("reload", parents=[common], help=text, description=f"{text.capitalize()}.")
    again.add_argument("--trial", action="store_true", help="change nothing, only show what would")
    text = "have the running server hand everything over to a new one, which nobody notices, or say why it does not"
    commands.add_parser("upgrade", parents=[common], help=text, description=f"{text.capitalize()}.")
    text = "say in a sentence why a listener or source left"
    past = commands.add_parser("explain", parents=[common], help=text, description=f"{text.capitalize()}.")
    past.add_argument("id", type=int, metavar="ID", help="its number in the log or the API")
    text = "write a castd.toml from an icecast.xml, and say what could not be carried over"
    moving = commands.add_parser("import", parents=[common], help=text, description=f"{text.capitalize()}.")
    moving.add_argument("file", type=Path, help="such as /etc/icecast2/icecast.xml")
    moving.add_argument("-o", "--output", type=Path, help="the new file; without it, standard output")
    text = "make a link that lets a listener in until it expires"
    link = commands.add_parser("link", parents=[common], help=text, description=f"{text.capitalize()}.")
    link.add_argument("mount", help="such as /live; it must have a link_key")
    link.add_argument("--hours", type=float, default=24.0, help="for which it is good (default: %(default)s)")
    link.add_argument("--user", default="", help="who it is for; without it, anybody")
    text = "ask for a password, and print the line for a users_file"
    password = commands.add_parser("password", parents=[common], help=text, description=f"{text.capitalize()}.")
    password.add_argument("user", help="the listener's name")
    text = "make, list and withdraw bearer tokens for the API"
    token = commands.add_parser("token", help=text, description=f"{text.capitalize()}.")
    actions = token.add_subparsers(dest="action", metavar="ACTION", required=True)
    text = "make a token, and print it, once"
    create = actions.add_parser("create", parents=[common], help=text, description=f"{text.capitalize()}.")
    create.add_argument("--name", default="", help="what it is for; the log calls its user so")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=(*SCOPES, EVERYTHING),
        help="; ".join(f"{name}: {what}" for name, what in SCOPES.items()) + "; admin: everything; may be repeated",
    )
    create.add_argument("--mount", action="append", default=[], help="it is for this one only; may be repeated")
    create.add_argument("--days", type=float, help="for which it is good; without it, until it is withdrawn")
    text = "show which tokens there are"
    actions.add_parser("list", parents=[common], help=text, description=f"{text.capitalize()}.")
    text = "withdraw a token"
    revoke = actions.add_parser("revoke", parents=[common], help=text, description=f"{text.capitalize()}.")
    revoke.add_argument("id", help="as `castd token list` shows it")
    return parser


def _import(file: Path, output: Path | None) -> int:
    from castd.icecast_xml import convert

    found = convert(file)
    for note in found.notes:
        print(f"castd: not carried over: {note}", file=sys.stderr)
    if output is None:
        print(found.text(), end="")
        if found.users:
            print("castd: users are written with --output only", file=sys.stderr)
        return OK
    try:
        _write_new(output, found.text())
        for path, lines in found.users.items():
            _write_new(Path(path), "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    print(f"castd: {output} is written; try it with: castd check -c {output}", file=sys.stderr)
    return OK


def _write_new(path: Path, text: str) -> None:
    """A file that only its owner can read: it holds passwords."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _link(config: Config, mount: str, hours: float, user: str) -> int:
    from castd.access.links import signed
    from castd.config import mount_name

    try:
        name = mount_name(mount)
    except ValueError as error:
        raise ConfigError(f"the name {mount} {error}") from None
    key = config.mount(name).link_key
    if not key:
        raise ConfigError(f"{name} has no link_key, so nobody would look at a link")
    print(f"{config.own_url}{signed(key, name, int(time.time() + hours * 3600), user)}")
    return OK


def _password(user: str) -> int:
    from castd.access.hashes import hashed

    if not user or ":" in user or not user.isprintable():
        raise ConfigError("the name of a user must not be empty, nor hold colons or control characters")
    given = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not given:
        raise ConfigError("an empty password lets everybody in")
    print(f"{user}:{hashed(given)}")
    return OK


def _token(config: Config, arguments: argparse.Namespace) -> int:
    from castd.access import tokens

    folder = Path(config.server.state_dir)
    try:
        if arguments.action == "create":
            return _create_token(folder, arguments)
        if arguments.action == "revoke":
            gone = tokens.revoke(folder, arguments.id)
            if gone is None:
                print(f"castd: no token has the id {escape(arguments.id)}", file=sys.stderr)
                return UNKNOWN
            _say(f"{gone.id} ({gone.name}) is withdrawn\n")
            return OK
        for each in tokens.read_tokens(str(folder / tokens.FILE_NAME)):
            until = "for ever" if each.expires is None else f"until {_moment(each.expires)}"
            where = ",".join(each.mounts) or "every mount"
            _say(escape(f"{each.id}  {each.name:<20} {','.join(each.scopes):<30} {where}  {until}") + "\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / tokens.FILE_NAME}: {error}") from None
    return OK


def _create_token(folder: Path, arguments: argparse.Namespace) -> int:
    from castd.access.tokens import create
    from castd.config import mount_name

    scopes = tuple(dict.fromkeys(arguments.scope))
    try:
        mounts = tuple(dict.fromkeys(mount_name(each) for each in arguments.mount))
    except ValueError as error:
        raise ConfigError(f"the name of a mount {error}") from None
    if mounts and (beyond := [each for each in scopes if each not in OF_MOUNTS]):
        raise ConfigError(f"{', '.join(beyond)} is about the whole server: leave out --mount, or the scope")
    if arguments.days is not None and not 0 < arguments.days <= 36_500:
        raise ConfigError("--days must be more than 0, and at most 36,500")
    if not arguments.name.isprintable() or len(arguments.name) > 100:
        raise ConfigError("--name must be at most 100 printable characters")
    now = time.time()
    expires = None if arguments.days is None else now + arguments.days * 86_400
    text, made = create(folder, arguments.name or "token", scopes, mounts, now, expires)
    until = "" if expires is None else f", good until {_moment(expires)}"
    print(f"castd: token {made.id}, shown this once{until}:", file=sys.stderr)
    _say(f"{text}\n")
    return OK


def _moment(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(wall))


def _run(path: Path | None) -> None:
    # Here rather than above: they take half a second that `castd check` does not need.
    import trio

    from castd import app
    from castd.access import secrets
    from castd.upgrade.taking import Predecessor

    predecessor = Predecessor.of(os.environ)
    try:
        read = partial(load, path and path.absolute(), os.environ)
        config = read()
        privileges.warn(config.server.user)
        _raise_descriptor_limit(config.limits.max_listeners)
        state_dir = Path(config.server.state_dir)
        if user := privileges.account(config.server.user):
            privileges.own(state_dir, user)
        with privileges.acting_as(user):
            resolved = secrets.resolve(config.auth, state_dir)
        again = [sys.executable, *sys.orig_argv[1:]]
        trio.run(app.run, config, resolved, read, partial(_announce, config, resolved), predecessor, again)
    except BaseException as error:
        if predecessor is not None:
            predecessor.refuse(_words(error))
        raise


def _words(error: BaseException) -> str:
    """What an error, or each of a group of them, says."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_words, error.exceptions))
    return str(error) or type(error).__name__


def _healthcheck(path: Path | None, url: str | None) -> int:
    from castd.healthcheck import ailment, health_url

    if problem := ailment(url or health_url(load(path, os.environ).listen)):
        print(f"castd: not healthy: {problem}", file=sys.stderr)
        return UNHEALTHY
    return OK


def _reload(config: Config, *, trial: bool) -> int:
    from castd.control import FILE_NAME, ask

    folder = Path(config.server.state_dir)
    try:
        answer = ask(folder, {"do": "reload", "trial": trial})
    except OSError as error:
        print(f"castd: no server answers at {folder / FILE_NAME}: {error.strerror or error}", file=sys.stderr)
        return UNKNOWN
    if "error" in answer:
        raise ConfigError(answer["error"])
    _say(_changes("would change" if trial else "changed", answer["changed"]))
    if answer["waiting"]:
        _say(_changes("waits for a restart", answer["waiting"]))
    return OK


def _upgrade(config: Config) -> int:
    from castd.control import FILE_NAME, ask

    folder = Path(config.server.state_dir)
    try:
        answer = ask(folder, {"do": "upgrade"}, UPGRADE_SECONDS)
    except OSError as error:
        print(f"castd: no server answers at {folder / FILE_NAME}: {error.strerror or error}", file=sys.stderr)
        return UNKNOWN
    if "error" in answer:
        print("castd: the server was not handed over, and goes on as it is", file=sys.stderr)
        raise ConfigError(answer["error"])
    _say(UPGRADED.format(**answer, milliseconds=round(answer["seconds"] * 1000)))
    if answer["left"]:
        _say(f"  {answer['left']} listeners over TLS could not be handed over; their players connect again\n")
    if answer["released"]:
        _say(f"  {answer['released']} sources could not be handed over; they connect again\n")
    return OK


def _changes(heading: str, changes: list[dict[str, str]]) -> str:
    width = max((len(each["key"]) for each in changes), default=0)
    lines = [escape(f"  {each['key']:<{width}}  {each['before']} -> {each['after']}") for each in changes]
    return "\n".join([f"{heading}:" if lines else f"{heading}: nothing", *lines, ""])


def _explain(id: int, config: Config) -> int:
    import sqlite3

    from castd.stats.database import FILE_NAME, find
    from castd.stats.explain import explain

    path = Path(config.server.state_dir) / FILE_NAME
    try:
        visit = find(path, id)
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: {error}") from None
    if visit is None:
        print(f"castd: {path} knows no visit {id}: it has not ended, is too old, or never was", file=sys.stderr)
        return UNKNOWN
    _say(f"{escape(explain(visit))}\n")
    return OK


def _raise_descriptor_limit(max_listeners: int) -> None:
    """Take all the file descriptors the system allows, one of which each connection needs, and say whether they do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # "unlimited" may be more than the kernel takes
        log.warning("cannot raise the limit of open files from %d: %s", soft, error)
        hard = soft
    if hard == resource.RLIM_INFINITY or hard >= max_listeners + SPARE_DESCRIPTORS:
        log.info("open files: at most %s, enough for limits.max_listeners = %d", _files(hard), max_listeners)
    else:
        log.warning(
            "open files: at most %d, about %d listeners, not limits.max_listeners = %d; raise LimitNOFILE or ulimit -n",
            hard,
            max(0, hard - SPARE_DESCRIPTORS),
            max_listeners,
        )


def _files(limit: int) -> str:
    return "any number" if limit == resource.RLIM_INFINITY else str(limit)


def _announce(config: Config, secrets: Secrets, urls: list[str]) -> None:
    """Tell the operator where the server is and, when secrets are new, what they are and how to begin.

    Args:
        urls: base URLs of all listening sockets, such as "http://localhost:8000".
    """
    url = urls[0]
    text = ADDRESSES.format(version=__version__, url=url)
    text += "".join(f"  also at  {other}/\n" for other in urls[1:])
    if secrets.generated:
        text += f"\n  New, shown this once and kept in {config.server.state_dir}:\n"
        users = {"source_password": f"{config.auth.source_user} / ", "admin_password": f"{config.auth.admin_user} / "}
        for name in sorted(secrets.generated):
            text += f"    {name:<16} {users.get(name, '')}{getattr(secrets, name)}\n"
        mount = config.mount(EXAMPLE_MOUNT)
        known = "source_password" in secrets.generated and not mount.source_password
        text += FIRST_STEPS.format(
            user=quote(mount.source_user, safe=""),
            password=quote(secrets.source_password, safe="") if known else "PASSWORD",
            address=url.partition("://")[2],
            mount=EXAMPLE_MOUNT,
            url=url,
        )
    else:
        text += "\n  Passwords and token:\n"
        for name in ("source_password", "admin_password", "admin_token"):
            text += f"    {name:<16} {_whereabouts(config, name)}\n"
    if _is_read(sys.stdout):
        _say(text)
    else:
        log.warning("nobody reads standard output; castd is ready at %s", ", ".join(urls))


def _whereabouts(config: Config, name: str) -> str:
    if file := getattr(config.auth, f"{name}_file"):
        return f"in {file}"
    return "configured" if getattr(config.auth, name) else f"in {Path(config.server.state_dir) / name}"


def _summary(path: Path | None, config: Config) -> str:
    addresses = ", ".join(f"{each.host or 'every address'} port {each.port or 'any'}" for each in config.listen)
    mounts = ", ".join(sorted(config.mounts.keys() - {"default"}))
    settings = f"of their own for {mounts}" if mounts else "the same for every mount"
    groups = f"  groups      {', '.join(sorted(config.groups))}\n" if config.groups else ""
    return f"{path or 'defaults'}: OK\n  listens on  {addresses}\n  settings    {settings}\n{groups}"


def _is_read(file: TextIO) -> bool:
    """Whether a file takes a page of text now; a pipe whose reader has stopped does not, and would stop the server."""
    try:
        writable = select.poll()
        writable.register(file.fileno(), select.POLLOUT)
        return bool(writable.poll(0))
    except (OSError, ValueError):  # it has no descriptor: a test's
        return True


def _say(text: str) -> None:
    """Print for the operator; a server does not end because nobody reads."""
    try:
        print(text.encode("utf-8", "backslashreplace").decode(), end="", flush=True)
    except OSError as error:
        log.warning("cannot write to standard output: %s", error.strerror)
        # Python keeps what it could not write; failing once more at exit, it would change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leaves(group: BaseExceptionGroup[ConfigError]) -> Iterator[ConfigError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
