"""One changed byte anywhere is found, and only versions that a trusted key signed pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_versions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelport.errors import IntegrityError, RepositoryError
from modelport.repository import keys, signing, trust
from modelport.repository.keys import PublicKey
from modelport.repository.layout import ModelFolder
from modelport.repository.signature import FILE_NAME as SIGNATURE

# Everything that is checked of a version that serves.
FILES = (
    "1/config.pbtxt", "1/manifest.json", "1/model.py", "1/samples.json", "1/weights.bin",
    "1/y_labels.txt", f"1/{SIGNATURE}", "y_labels.txt",
)  # fmt: skip


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "team"
    keys.generate(path)
    return path


@pytest.fixture(scope="module")
def public(signer: Path) -> PublicKey:
    return keys.read_public(keys.public_path(signer))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    small_versions.publish(path, "net")
    return path


@pytest.fixture
def net(repository: Path, signer: Path) -> ModelFolder:
    """A model with one version, signed."""
    folder = small_versions.model(repository, "net")
    signing.sign(repository, [(folder, 1)], signer)
    return folder


def found(net: ModelFolder, public: PublicKey) -> tuple[str, str | None]:
    verdict = trust.examine(net, 1, [public], live=True)
    return verdict.state, verdict.file


def test_a_signed_version_is_ok(net: ModelFolder, public: PublicKey) -> None:
    assert found(net, public) == ("ok", None)
    trust.check(net, 1, [public])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(FILES), place=st.integers(0, 1 << 20), change=st.integers(1, 255)
)  # fmt: skip
def test_any_changed_byte_is_found(
    net: ModelFolder, public: PublicKey, name: str, place: int, change: int
) -> None:
    path = net.path / name
    content = path.read_bytes()
    index = place % len(content)
    path.write_bytes(content[:index] + bytes([content[index] ^ change]) + content[index + 1 :])
    try:
        with pytest.raises(IntegrityError):
            trust.check(net, 1, [public])
    finally:
        path.write_bytes(content)


def test_every_byte_of_the_signature_counts(net: ModelFolder, public: PublicKey) -> None:
    path = net.path / "1" / SIGNATURE
    content = path.read_bytes()
    for index in range(len(content)):
        # The next character: base64 takes it, and its last one has bits that mean nothing.
        path.write_bytes(content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :])
        assert found(net, public)[0] in {"altered", "wrong key"}, index
    path.write_bytes(content)
    assert found(net, public) == ("ok", None)


def test_the_altered_file_is_named(net: ModelFolder, public: PublicKey) -> None:
    (net.path / "1" / "weights.bin").write_bytes(b"v" * 64)
    assert found(net, public) == ("altered", "weights.bin")
    (net.path / "1" / "weights.bin").write_bytes(b"w" * 64)
    text = (net.path / "1" / "manifest.json").read_text()
    (net.path / "1" / "manifest.json").write_text(text.replace("CC-BY-4.0", "CC-BY-4.1"))
    assert found(net, public) == ("altered", "manifest.json")


def test_files_that_nobody_signed_are_found(net: ModelFolder, public: PublicKey) -> None:
    (net.path / "1" / "numpy.py").write_text("")
    assert found(net, public) == ("altered", "numpy.py")
    (net.path / "1" / "numpy.py").unlink()
    (net.path / "1" / "helpers").symlink_to("/usr/lib")
    assert found(net, public) == ("altered", "helpers")


def test_a_link_in_place_of_a_file_is_found(net: ModelFolder, public: PublicKey) -> None:
    """Its target could change later."""
    weights = net.path / "1" / "weights.bin"
    elsewhere = weights.rename(net.path.parent / "elsewhere.bin")
    weights.symlink_to(elsewhere)
    assert found(net, public)[0] == "altered"


def test_bytecode_is_passed_over(net: ModelFolder, public: PublicKey) -> None:
    (net.path / "1" / "__pycache__").mkdir()
    (net.path / "1" / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    assert found(net, public) == ("ok", None)


def test_a_version_in_the_place_of_another_is_found(
    repository: Path, net: ModelFolder, public: PublicKey
) -> None:
    """Else the good name of an old version could bring it back under a new number."""
    shutil.copytree(net.path / "1", net.path / "2")
    assert trust.examine(net, 2, [public], live=False).state == "altered"
    shutil.copytree(net.path, repository / "copy")
    copy = small_versions.model(repository, "copy")
    assert trust.examine(copy, 1, [public], live=False).state == "altered"


def test_the_signature_of_another_version_is_found(
    repository: Path, net: ModelFolder, public: PublicKey, signer: Path
) -> None:
    small_versions.publish(repository, "other")
    other = small_versions.model(repository, "other")
    signing.sign(repository, [(other, 1)], signer)
    shutil.copyfile(net.path / "1" / SIGNATURE, other.path / "1" / SIGNATURE)
    assert trust.examine(other, 1, [public], live=False).state == "altered"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('backend: "python"', 'backend: "onnxruntime"'),
        ("max_batch_size: 8", 'max_batch_size: 8 default_model_filename: "other.py"'),
        ("max_batch_size: 8", 'parameters { key: "a" value { string_value: "b" } }'),
        ("max_batch_size", "no_such_field"),
    ],
)
def test_another_configuration_is_found(
    net: ModelFolder, public: PublicKey, old: str, new: str
) -> None:
    text = net.config_path.read_text()
    net.config_path.write_text(text.replace(old, new))
    assert found(net, public) == ("altered", "../config.pbtxt")
    assert trust.examine(net, 1, [public], live=False).state == "ok"


def test_promotion_needs_no_private_key(net: ModelFolder, public: PublicKey) -> None:
    """Which versions serve, and how the text is laid out, may change."""
    text = net.config_path.read_text()
    net.config_path.write_text(
        "# mine\n" + text + "version_policy { specific { versions: [1] } }\n"
    )
    assert found(net, public) == ("ok", None)


def test_a_backend_in_the_folder_of_the_model_is_found(net: ModelFolder, public: PublicKey) -> None:
    """Triton would take it before its own."""
    (net.path / "libtriton_python.so").write_bytes(b"")
    assert found(net, public) == ("altered", "../libtriton_python.so")


def test_code_beside_the_versions_may_change(net: ModelFolder, public: PublicKey) -> None:
    """It is what the next version is made of; versions run their own copy."""
    (net.path / "model.py").write_text("work in progress")
    assert found(net, public) == ("ok", None)


def test_unsigned_and_foreign_versions_are_told_apart(
    net: ModelFolder, public: PublicKey, tmp_path: Path
) -> None:
    stranger = keys.generate(tmp_path / "stranger")
    assert found(net, stranger) == ("wrong key", None)
    assert trust.examine(net, 1, [stranger, public], live=True).state == "ok"
    assert trust.examine(net, 1, (), live=True).state == "unchecked"
    (net.path / "1" / SIGNATURE).unlink()
    assert found(net, public) == ("unsigned", None)
    with pytest.raises(IntegrityError, match="nobody has signed it"):
        trust.check(net, 1, [public])
    trust.check(net, 1, [])
    (net.path / "1" / "manifest.json").unlink()
    assert found(net, public) == ("unproven", None)


# --- signing --------------------------------------------------------------------


def test_signing_again_changes_nothing(repository: Path, net: ModelFolder, signer: Path) -> None:
    before = (net.path / "1" / SIGNATURE).read_bytes()
    assert [one.state for one in signing.sign(repository, [(net, 1)], signer)] == ["unchanged"]
    assert (net.path / "1" / SIGNATURE).read_bytes() == before


def test_a_new_key_takes_the_place_of_the_old(
    repository: Path, net: ModelFolder, tmp_path: Path
) -> None:
    new = keys.generate(tmp_path / "new")
    signed = signing.sign(repository, [(net, 1)], tmp_path / "new")
    assert signed[0].state == "signed"
    assert "signed with the key" in signed[0].reason
    assert found(net, new) == ("ok", None)


@pytest.mark.parametrize("name", ["weights.bin", "manifest.json", SIGNATURE])
@pytest.mark.parametrize("with_key", ["the same", "another"])
def test_what_was_altered_is_not_signed(
    repository: Path, net: ModelFolder, signer: Path, tmp_path: Path, name: str, with_key: str
) -> None:
    """Else the next release would vouch for what an intruder left."""
    path = net.path / "1" / name
    changed = path.read_bytes().replace(b"w", b"v").replace(b"0.1.0", b"0.1.1")
    changed = changed.replace(b'"hint"', b'"Hint"')
    path.write_bytes(changed)
    if with_key == "another":
        signer = tmp_path / "another"
        keys.generate(signer)
    with pytest.raises(IntegrityError):
        signing.sign(repository, [(net, 1)], signer)
    assert path.read_bytes() == changed


def test_all_are_signed_or_none(repository: Path, signer: Path) -> None:
    small_versions.publish(repository, "bad")
    folders = [small_versions.model(repository, name) for name in ("net", "bad")]
    (repository / "bad" / "1" / "weights.bin").write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"bad/1: altered weights\.bin"):
        signing.sign(repository, [(folder, 1) for folder in folders], signer)
    assert not (repository / "net" / "1" / SIGNATURE).exists()
    assert not list(repository.parent.glob(".*.staging"))


def test_a_dry_run_signs_nothing(repository: Path, signer: Path) -> None:
    net = small_versions.model(repository, "net")
    signed = signing.sign(repository, [(net, 1)], signer, dry_run=True)
    assert (signed[0].state, signed[0].reason) == ("signed", "nobody has signed it")
    assert not (net.path / "1" / SIGNATURE).exists()


def test_a_version_that_does_not_say_how_it_runs_is_not_signed(
    repository: Path, signer: Path
) -> None:
    net = small_versions.model(repository, "net")
    (net.path / "1" / "config.pbtxt").unlink()
    (net.path / "1" / "manifest.json").unlink()
    small_versions.manifest("net", 1, net.path / "1").write(net.path / "1")
    with pytest.raises(RepositoryError, match=r"holds no config\.pbtxt"):
        signing.sign(repository, [(net, 1)], signer)
    (one,) = signing.sign(repository, [(net, 1)], signer, leave_out=True)
    assert one.state == "left out"
    assert not (net.path / "1" / SIGNATURE).exists()


def test_the_tool_of_the_library_takes_the_signature(net: ModelFolder, public: PublicKey) -> None:
    """Who has no Modelport checks versions all the same."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(net.path / "1")]
    options = ["--signature", str(net.path / "1" / SIGNATURE), "--public_key", str(public.path)]
    done = subprocess.run(
        [*command, *options, "--ignore_unsigned_files"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr


# --- what a repository demands ----------------------------------------------------


def test_a_repository_demands_signatures(repository: Path, public: PublicKey) -> None:
    assert trust.demanded(repository) == ()
    shutil.copyfile(public.path, repository / "team.pub")
    (repository / "modelport.toml").write_text('[trust]\nkeys = ["team.pub"]\n')
    assert trust.demanded(repository) == ()
    assert [key.fingerprint for key in trust.known_keys(repository)] == [public.fingerprint]
    (repository / "modelport.toml").write_text('[trust]\nrequire = true\nkeys = ["team.pub"]\n')
    assert [key.fingerprint for key in trust.demanded(repository)] == [public.fingerprint]


def test_a_key_from_outside_outweighs_the_settings(repository: Path, public: PublicKey) -> None:
    """Whoever may write the repository may write its settings."""
    (repository / "modelport.toml").write_text("[trust]\nrequire = false\n")
    assert trust.demanded(repository, [public.path]) == (public,)


def test_a_demand_without_a_key_is_refused(repository: Path) -> None:
    (repository / "modelport.toml").write_text("[trust]\nrequire = true\n")
    with pytest.raises(RepositoryError, match="names no key"):
        trust.demanded(repository)
