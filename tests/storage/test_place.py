"""SQLite on a network file system is refused, with the way out; mounts are read as Linux lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from eca_ablate.errors import UserError
from eca_ablate.storage import place, read_url
from eca_ablate.storage.opening import open_study
from eca_ablate.storage.place import file_system, require_local

MOUNTS = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:45 / /home rw - nfs4 server:/home rw,vers=4.2
31 30 254:1 / /home/local rw shared:7 master:1 - xfs /dev/vdb rw
32 22 0:46 / /mnt/two\040words rw - cifs //server/share rw
33 22 0:47 / /mnt/ssh rw - fuse.sshfs me@host: rw
34 22 0:48 / /mnt/hidden rw - nfs server:/x rw
35 22 0:49 / /mnt/hidden rw - tmpfs none rw
36 22 0:50 / /windows rw - 9p drvfs rw
""".strip()


@pytest.fixture(autouse=True)
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    listing = tmp_path / "mountinfo"
    listing.write_text(MOUNTS + "\n")
    monkeypatch.setattr(place, "MOUNTS", listing)
    return listing


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/homely/results", "ext4"),
        ("/home/me/results", "nfs4"),
        ("/home/local/me", "xfs"),
        ("/mnt/two words/results", "cifs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/mnt/hidden/results", "tmpfs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(path: str, kind: str) -> None:
    assert file_system(Path(path)) == kind


@pytest.mark.parametrize("folder", ["/home/me/results", "/mnt/two words", "/mnt/ssh/results"])
def test_a_network_file_system_is_refused_with_the_ways_out(folder: str) -> None:
    with pytest.raises(UserError, match=r"must lie on a local disk, but /.* is on a network file system") as error:
        require_local(read_url(f"sqlite:///{folder}/study.db"))
    assert "--storage sqlite:////PATH/study.db" in str(error.value)
    assert "--storage postgresql://USER@HOST/DATABASE" in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////home/local/study.db",
        "sqlite:////windows/study.db",
        "sqlite://",
        "postgresql://someone@server/home/me/results",
    ],
)
def test_other_places_are_not(url: str) -> None:
    require_local(read_url(url))


def test_nothing_is_refused_where_nothing_is_known(mounts: Path) -> None:
    mounts.unlink()
    require_local(read_url("sqlite:////home/me/results/study.db"))


def test_a_study_is_not_opened_there(tmp_path: Path, mounts: Path) -> None:
    mounts.write_text(f"{MOUNTS}\n40 22 0:60 / {tmp_path} rw - nfs4 server:/y rw\n")
    from optuna.pruners import NopPruner

    with pytest.raises(UserError, match="network file system"):
        open_study(f"sqlite:///{tmp_path}/study.db", tmp_path, "runs", "val_top1", NopPruner())
    assert not (tmp_path / "study.db").exists()
