"""schemathesis asks the running server everything its OpenAPI document says, and much that it forbids."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.peers.ffmpeg import publish
from tests.e2e.server import ADMIN_PASSWORD, Castd, live

if TYPE_CHECKING:
    from tests.e2e.media import Media

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.needs("ffmpeg")]

EXAMPLES = 40
"""Of each operation; a run takes some ten seconds."""

REPORT_CHARACTERS = 6000

SETTINGS = """\
[[operations]]
include-path = "/api/v1/mounts/{name}/art"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "502"]
"""
"""An earlier question may have given the title a picture, at a server that is none."""


@pytest.mark.parametrize("user", [("-a", f"admin:{ADMIN_PASSWORD}"), ()], ids=["admin", "nobody"])
async def test_every_answer_is_as_the_document_says(
    user: tuple[str, ...], media: dict[str, Media], tmp_path: Path
) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    async with (
        Castd(tmp_path / "castd", limits="max_wrong_passwords_per_minute = 0") as castd,
        publish(media["opus"], castd, "/live", tmp_path / "encoder.log"),
    ):
        await live(castd, "/live")
        command = [
            str(program), "run", f"{castd.address}/api/v1/openapi.json", *user,
            "--exclude-path-regex", "/events$",  # which never end
            # an empty argument is as good as none, and there is more to a ban than its types
            "--exclude-checks", "negative_data_rejection,positive_data_acceptance",
            "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--no-color", "--seed", "1",
        ]  # fmt: skip
        with trio.fail_after(400):
            done = await trio.run_process(command, capture_stdout=True, check=False, cwd=tmp_path)
    report = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, report[-REPORT_CHARACTERS:]
    assert "Tested: " in report
    print(report[report.rfind("= SUMMARY") :])
