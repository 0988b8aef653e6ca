"""Where an SQLite file may lie: its locks are not to be relied on across a network."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import URL

from eca_ablate.errors import UserError

MOUNTS = Path("/proc/self/mountinfo")  # Linux has it; elsewhere nothing is known of a path
NETWORK = re.compile(
    r"(fuse\.)?(nfs\d*|cifs|smb\w*|afs|ceph|glusterfs|lustre|gpfs|beegfs\w*|pvfs2|orangefs|ncpfs|sshfs)"
)


def require_local(url: URL) -> None:
    """Refuse an SQLite file on a network file system, where two processes can take one run, or the file can break.

    Raises:
        UserError: with the ways out.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    folder = Path(url.database).resolve().parent
    kind = file_system(folder)
    if NETWORK.fullmatch(kind):
        raise UserError(
            f"an SQLite study must lie on a local disk, but {folder} is on a network file system ({kind}), whose locks "
            "can fail; name a local file, `--storage sqlite:////PATH/study.db`, or a server, "
            "`--storage postgresql://USER@HOST/DATABASE`"
        )


def file_system(path: Path) -> str:
    """Return the type of the file system that an absolute path is on, or nothing where that is not known."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    kind, depth = "", -1
    for line in lines:  # of two mounts at one place the later one hides the other
        before, _, after = line.partition(" - ")
        place = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), before.split(" ")[4]))
        if path.is_relative_to(place) and len(place.parts) >= depth:
            kind, depth = after.split(" ")[0], len(place.parts)
    return kind
