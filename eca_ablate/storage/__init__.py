"""Where studies are kept: an SQLite file, or a PostgreSQL server that machines share and that may restart."""

from __future__ import annotations

from eca_ablate.storage.address import hide_password, read_url, storage_url
from eca_ablate.storage.lock import StudyLock
from eca_ablate.storage.opening import experimental, open_study, wait_again

__all__ = ["StudyLock", "experimental", "hide_password", "open_study", "read_url", "storage_url", "wait_again"]
