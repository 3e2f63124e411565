"""``environment.json``: the machine and the packages that a version was built on.

It lies beside the manifest, which lists its digest. The manifest names the packages that the
weights depend on; here stands everything that was installed, for a bill of materials and for
whoever builds the version again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from modelport.errors import IntegrityError

FILE_NAME = "environment.json"


class BuildEnvironment(BaseModel):
    """What the answers of a build may depend on, beside its code and data.

    Attributes:
        python: its version.
        platform: operating system, machine and C library.
        cpu: its name, as the kernel gives it; sums of floats differ between kinds.
        cores: that the build could use; sums are split over them.
        packages: every installed distribution with its version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    python: str
    platform: str
    cpu: str
    cores: int
    packages: dict[str, str]

    @classmethod
    def read(cls, version_dir: Path) -> BuildEnvironment | None:
        """Read that of a version; None where an older Modelport kept none.

        Raises:
            IntegrityError: the file is damaged.
        """
        path = version_dir / FILE_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise IntegrityError(
                f"{path}: it is not what its schema says",
                cause="the file was cut short or edited by hand",
                next_step="modelport verify says which files changed",
                path=path,
            ) from error

    def write(self, version_dir: Path) -> None:
        """Write ``environment.json`` into a version folder."""
        text = self.model_dump_json(indent=1) + "\n"
        (version_dir / FILE_NAME).write_text(text, encoding="utf-8")
