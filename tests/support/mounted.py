"""A folder as the kubelet mounts a Secret: versions in folders of their own, a link to the one in force."""

import shutil
from collections.abc import Mapping
from pathlib import Path


class MountedSecret:
    """``put`` replaces all files at once, by renaming the link, and takes the version before away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions = 0

    def put(self, files: Mapping[str, bytes]) -> None:
        self.versions += 1
        link = self.folder / "..data"
        before = link.resolve() if link.is_symlink() else None
        fresh = self.folder / f"..2026_11_25_{self.versions:02}"
        fresh.mkdir(mode=0o2755, parents=True)
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        (self.folder / "..data_tmp").symlink_to(fresh.name)
        (self.folder / "..data_tmp").rename(link)
        for name in files:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        for stale in self.folder.iterdir():
            if stale.is_symlink() and stale.name != "..data" and stale.name not in files:
                stale.unlink()
        if before is not None:
            shutil.rmtree(before)
