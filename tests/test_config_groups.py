"""Groups of mounts in the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from castd.config import load
from castd.config.differences import differences
from castd.errors import ConfigError

GROUP = '[groups."/radio"]\nmounts = ["/high", "/low"]\n'


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "castd.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(("text", "words"), [
    ('[groups."/radio"]', 'groups."/radio".mounts: must name the mounts'),
    ('[groups."/radio"]\nmounts = ["high"]', '"high" must be the name of a mount'),
    ('[groups."/radio"]\nmounts = ["/admin/x"]', 'the name of a mount, such as "/live"'),
    ('[groups."/radio"]\nmounts = "/high"', "must be a list"),
    ('[groups."/radio"]\nmount = ["/high"]', 'groups."/radio".mount: unknown key'),
    ('[groups]\nradio = ["/high"]', "groups.radio = a list: must be a table"),
    ('[groups."/api/radio"]\nmounts = ["/high"]', "the name is one of castd's own pages"),
    ('[groups.default]\nmounts = ["/default"]', 'groups."/default".mounts: /default is a group itself'),
    (GROUP + '[groups.radio]\nmounts = ["/high"]', 'groups.radio: the same group as groups."/radio"'),
    (GROUP + '[mounts."/radio"]', 'groups."/radio": a mount is called so'),
    (GROUP + '[shoutcast]\nmounts = ["/radio"]', 'groups."/radio": a mount is called so'),
    (GROUP + '[[relays]]\nmount = "/radio"\nurls = ["http://a.example/"]', 'groups."/radio": a mount is called so'),
    (GROUP + '[[aliases]]\npath = "/radio"\nmount = "/high"', 'groups."/radio": an alias is called so'),
    (GROUP + '[[aliases]]\npath = "/low"\nmount = "/x"', "/low is an alias; name the mount"),
    (GROUP + '[files]\nroot = "."', 'groups."/radio": a file in files.root is called so'),
    ('[groups."/radio"]\nmounts = ["/high", "/high"]', "/high is in it twice"),
    (GROUP + '[groups."/other"]\nmounts = ["/radio"]', "/radio is a group itself; name its mounts"),
    (GROUP + '[mounts."/low"]\nno_mount = true', "/low is not for listeners (no_mount)"),
    (GROUP + '[mounts."/low"]\nhls_segment_seconds = 6', "all must have the same hls_segment_seconds"),
    (f"[groups.radio]\nmounts = {[f'/m{n}' for n in range(17)]}", "at most 16"),
    ("".join(f"[groups.g{n}]\nmounts = ['/m{n}']\n" for n in range(1001)), "groups: at most 1,000"),
    ('[mounts."/a"]\ngroup = "x"', 'mounts."/a".group: unknown key'),
])  # fmt: skip
def test_what_no_group_can_be_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "radio").touch()
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {})
    assert words in str(caught.value)


def test_a_group(tmp_path: Path) -> None:
    old = load(write(tmp_path, GROUP), {})
    assert old.groups["/radio"].mounts == ("/high", "/low")
    both = GROUP + '[groups."/all"]\nmounts = ["/low"]\n[mounts."/off"]\nhls = false\nhls_part_seconds = 1'
    new = load(write(tmp_path, both.replace('"/high", ', '"/off", "/high", ')), {})
    assert [new.group_of(mount) for mount in ("/high", "/low", "/else")] == ["/radio", "/radio", ""]
    told = [str(each) for each in differences(old, new)]
    assert 'groups."/radio".mounts ["/high", "/low"] -> ["/off", "/high", "/low"]' in told
    assert 'groups."/all".mounts not set -> ["/low"]' in told
    assert not any(each.needs_restart for each in differences(old, new))
