"""keys, sign, verify and sbom as a user types them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from modelport.errors import IntegrityError, RepositoryError, SigningKeyError

# The versions are those of the repository's own tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "repository"))

import small_versions

SECRET = "correct horse battery staple"


class Typed:
    """Runs `modelport` in a folder with a repository of three versions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "model_repository"
        for name, version in (("net", 1), ("net", 2), ("other", 1)):
            small_versions.publish(self.repository, name, version)

    def __call__(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "modelport.cli", *command],
            cwd=self.folder,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.delenv("MODELPORT_KEY_PASSPHRASE", raising=False)
    return Typed(tmp_path)


def test_from_a_key_to_a_repository_that_is_verified(typed: Typed) -> None:
    made = json.loads(typed("keys", "new", "team", "--json").stdout)
    assert stat.S_IMODE((typed.folder / made["private"]).stat().st_mode) == 0o600
    assert "nobody has signed it" in typed("verify").stdout
    dry = typed("sign", "--key", "team", "--dry-run")
    assert dry.stdout.count("would be signed") == 3
    assert not list(typed.repository.rglob("model.sig"))
    signed = json.loads(typed("sign", "net", "--key", "team", "--json").stdout)
    assert [(one["model"], one["version"], one["state"]) for one in signed] == [
        ("net", 1, "signed"), ("net", 2, "signed")
    ]  # fmt: skip

    done = typed("verify", "--key", "team.pub")
    assert done.returncode == IntegrityError.exit_code
    assert "1 of 3 versions are not to be trusted" in done.stderr
    assert "other version 1: unsigned" in done.stderr
    assert typed("verify", "net", "2", "--key", "team.pub").returncode == 0

    typed("sign", "--key", "team")
    found = json.loads(typed("verify", "--key", "team.pub", "--json").stdout)
    assert [(one["state"], one["serves"], one["wrong"]) for one in found] == [
        ("ok", False, False), ("ok", True, False), ("ok", True, False)
    ]  # fmt: skip

    (typed.repository / "net" / "1" / "weights.bin").write_bytes(b"v" * 64)
    done = typed("verify", "--key", "team.pub")
    assert done.returncode == IntegrityError.exit_code
    assert "net version 1: altered weights.bin: sha256 differs" in done.stderr
    # A file that changed is found without a key too.
    assert "altered weights.bin" in typed("verify").stderr


def test_the_settings_name_keys_and_demand_signatures(typed: Typed) -> None:
    typed("keys", "new", "team")
    settings = typed.repository / "modelport.toml"
    settings.write_text('[trust]\nkeys = ["../team.pub"]\n')
    assert typed("verify").returncode == 0
    settings.write_text('[trust]\nrequire = true\nkeys = ["../team.pub"]\n')
    assert typed("verify").returncode == IntegrityError.exit_code
    typed("sign", "--key", "team")
    assert typed("verify").returncode == 0


def test_a_passphrase_is_shown_nowhere(typed: Typed) -> None:
    made = typed("keys", "new", "team", MODELPORT_KEY_PASSPHRASE=SECRET)
    assert "its passphrase opens it" in made.stdout
    done = typed("sign", "--key", "team")
    assert done.returncode == SigningKeyError.exit_code
    assert "set MODELPORT_KEY_PASSPHRASE" in done.stderr
    wrong = typed("-v", "sign", "--key", "team", MODELPORT_KEY_PASSPHRASE=SECRET[:-1])
    assert wrong.returncode == SigningKeyError.exit_code
    right = typed("-v", "sign", "--key", "team", MODELPORT_KEY_PASSPHRASE=SECRET)
    assert right.returncode == 0, right.stderr
    key = (typed.folder / "team").read_text().splitlines()[1]
    for shown in (made, done, wrong, right):
        assert SECRET[:-1] not in shown.stdout + shown.stderr
        assert key not in shown.stdout + shown.stderr
    copies = [
        p for p in typed.repository.rglob("*") if p.is_file() and key in p.read_text("latin1")
    ]
    assert not copies


def test_mistakes_are_told_without_a_traceback(typed: Typed) -> None:
    inside = typed("keys", "new", "model_repository/team")
    assert inside.returncode == SigningKeyError.exit_code
    absent = typed("sign", "--key", "absent")
    assert absent.returncode == SigningKeyError.exit_code
    version = typed("verify", "net", "7")
    assert version.returncode == RepositoryError.exit_code
    assert "there is no version 7 of net" in version.stderr
    name = typed("verify", "nett")
    assert "did you mean net?" in name.stderr
    for done in (inside, absent, version, name):
        assert "Traceback" not in done.stderr


def test_a_bill_is_written(typed: Typed) -> None:
    shown = json.loads(typed("sbom", "net", "2").stdout)
    assert shown["metadata"]["component"]["version"] == "2"
    typed("sbom", "net", "2", "--output", "net.cdx.json")
    assert json.loads((typed.folder / "net.cdx.json").read_text()) == shown
