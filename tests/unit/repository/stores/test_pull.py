"""Pulling from a folder: all or nothing, verified, and who decides what serves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from proven import Shelf, serves, state, versions

from modelport.errors import (
    IntegrityError,
    PublishError,
    StoreConflictError,
    StoreError,
)
from modelport.repository import doctor
from modelport.repository.stores.folder import FolderStore
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push


@pytest.fixture
def store(shelf: Shelf, tmp_path: Path) -> FolderStore:
    """What the shelf has, pushed."""
    store = FolderStore(tmp_path / "store")
    push(shelf.path, store)
    store.close()
    return store


def push_again(shelf: Shelf, store: FolderStore) -> None:
    push(shelf.path, store)
    store.close()


def test_another_machine_gets_just_what_was_proven(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    outcome = pull(away, store)
    assert versions(away) == versions(shelf.path)
    assert serves(away, "net") == [2]
    assert outcome.models == 2
    found = doctor.check(away)
    assert [f for f in found if f.severity == "error" and "model.onnx" not in str(f.where)] == []
    assert sorted(p.name for p in away.parent.iterdir()) == ["away", "home", "store"]


def test_a_second_pull_fetches_nothing(store: FolderStore, away: Path) -> None:
    pull(away, store)
    fresh = FolderStore(store.path)
    outcome = pull(away, fresh)
    assert outcome.changes == ()
    assert fresh.traffic.as_json()["bytes_received"] < 10_000  # manifests, to compare


def test_a_new_version_fetches_just_that(shelf: Shelf, store: FolderStore, away: Path) -> None:
    pull(away, store)
    shelf.publish("net", labels=("cat", "dog"))
    push_again(shelf, store)
    changes = pull(away, store).changes
    assert [(c.model, c.version) for c in changes] == [("net", 3), ("net", None)]
    assert serves(away, "net") == [3]


def test_parts_come_along(store: FolderStore, away: Path) -> None:
    assert {c.model for c in pull(away, store, ["chain"]).changes} == {"chain", "net"}
    assert pull(away, store).changes == ()


def test_a_file_that_another_version_has_is_not_fetched(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    weights = bytes(200_000)
    shelf.publish("big", weights=weights)
    push_again(shelf, store)
    pull(away, store)
    shelf.publish("big", weights=weights)
    push_again(shelf, store)
    fresh = FolderStore(store.path)
    pull(away, fresh)
    assert fresh.traffic.as_json()["bytes_received"] < len(weights)
    assert versions(away) == versions(shelf.path)
    one, two = (away / "big" / v / "model.onnx" for v in "12")
    assert one.stat().st_ino != two.stat().st_ino


def test_only_what_serves(shelf: Shelf, store: FolderStore, away: Path) -> None:
    pull(away, store, served=True)
    assert [p.name for p in (away / "net").iterdir() if p.is_dir()] == ["2"]
    shelf.promote("net", 1)
    push_again(shelf, store)
    pull(away, store, served=True, delete=True)
    assert [p.name for p in (away / "net").iterdir() if p.is_dir()] == ["1"]
    assert serves(away, "net") == [1]


def test_a_dry_run_changes_nothing(store: FolderStore, away: Path) -> None:
    planned = pull(away, store, dry_run=True)
    assert not away.exists() or not list(away.iterdir())
    assert pull(away, store).changes == planned.changes


def test_a_new_version_does_not_serve_before_the_store_says_so(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    """A repository that serves `latest` must not take up what was pushed, but not promoted."""
    shelf.promote("net", 2)
    push_again(shelf, store)
    pull(away, store)
    latest = (shelf.path / "net" / "2" / "config.pbtxt").read_text()
    (away / "net" / "config.pbtxt").write_text(latest)
    assert pull(away, store).changes == ()  # it means the same, and stays
    assert (away / "net" / "config.pbtxt").read_text() == latest
    shelf.publish("net", labels=("cat", "dog"))
    push_again(shelf, store)
    pull(away, store)
    assert (away / "net" / "3" / "manifest.json").is_file()
    assert serves(away, "net") == [2]


def test_a_checkout_without_versions_takes_what_serves(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    shelf.promote("net", 1)
    push_again(shelf, store)
    (away / "net").mkdir(parents=True)
    for name in ("config.pbtxt", "y_labels.txt"):
        (away / "net" / name).write_bytes((shelf.path / "net" / "2" / name).read_bytes())
    (away / "net" / "model.py").write_text("source")
    pull(away, store)
    assert serves(away, "net") == [1]
    assert (away / "net" / "model.py").read_text() == "source"


# --- a store that lies -------------------------------------------------------------


def rewritten(store: FolderStore, **changes: object) -> None:
    path = store.path / "net" / "2" / "manifest.json"
    document = json.loads(path.read_bytes())
    document.update(changes)
    path.write_text(json.dumps(document))


def with_file(store: FolderStore, path: str) -> None:
    entry = {"path": path, "size_bytes": 3, "sha256": "0" * 64}
    rewritten(store, files=[entry])


def changed(store: FolderStore, path: str, change: Callable[[bytes], bytes]) -> None:
    file = store.path / path
    file.write_bytes(change(file.read_bytes()))


LIES: dict[str, tuple[Callable[[FolderStore], object], str]] = {
    "one byte": (
        lambda s: changed(s, "net/2/model.onnx", lambda b: b[:-1] + bytes([b[-1] ^ 1])),
        r"net/2/model\.onnx: sha256 .* instead of 5000 bytes with sha256",
    ),
    "too short": (lambda s: changed(s, "net/2/model.onnx", lambda b: b[:-1]), "instead of 5000"),
    "too long": (
        lambda s: changed(s, "net/2/model.onnx", lambda b: b + b"more"),
        "more than 5000 bytes",
    ),
    "missing": (lambda s: (s.path / "net/2/model.onnx").unlink(), "nothing instead of 5000"),
    "another model's manifest": (lambda s: rewritten(s, model="other"), "is that of other"),
    "another version's manifest": (lambda s: rewritten(s, version=9), "version 9"),
    "a path outside": (lambda s: with_file(s, "../../escaped"), "leads out of the version"),
    "an absolute path": (lambda s: with_file(s, "/escaped"), "leads out of the version"),
    "a manifest in a manifest": (lambda s: with_file(s, "manifest.json"), "no file of a version"),
    "no manifest at all": (
        lambda s: changed(s, "net/2/manifest.json", lambda b: b[:50]),
        r"manifest\.json: field",
    ),
    "unknown key": (lambda s: rewritten(s, trusted=True), r"field trusted"),
    "config of another model": (
        lambda s: changed(s, "net/config.pbtxt", lambda b: b.replace(b'"net"', b'"nut"')),
        "it is that of the model 'nut'",
    ),
    "config in pieces": (lambda s: changed(s, "net/config.pbtxt", lambda b: b[:200]), "parse"),
    "config with an absent version": (
        lambda s: changed(s, "net/config.pbtxt", lambda b: b.replace(b"[2]", b"[5]")),
        "names version 5, which is not in the store",
    ),
    "config with other settings": (
        lambda s: changed(s, "net/config.pbtxt", lambda b: b.replace(b": 8", b": 4")),
        "differs from that of version 2",
    ),
    "config that names no version": (
        lambda s: changed(s, "net/config.pbtxt", lambda b: b[: b.index(b"version_policy")]),
        "does not name the versions",
    ),
    "labels": (
        lambda s: changed(s, "net/y_labels.txt", lambda b: b.replace(b"cat", b"cow")),
        r"y_labels\.txt is not the one",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_store_that_lies_is_refused_and_nothing_changes(
    lie: str, shelf: Shelf, store: FolderStore, away: Path
) -> None:
    damage, complaint = LIES[lie]
    damage(store)
    with pytest.raises(IntegrityError, match=complaint):
        pull(away, store)
    assert state(away) == {}
    assert not (away.parent / "escaped").exists()


def test_it_is_refused_by_a_repository_that_has_the_rest_too(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    pull(away, store)
    before = state(away)
    shelf.publish("net", labels=("cat", "dog"))
    push_again(shelf, store)
    changed(store, "net/3/model.onnx", lambda b: b[::-1])
    with pytest.raises(IntegrityError, match="net/3"):
        pull(away, store)
    assert state(away) == before
    changed(store, "net/3/model.onnx", lambda b: b[::-1])
    pull(away, store)
    assert versions(away) == versions(shelf.path)


def test_a_version_without_manifest_is_left_out(store: FolderStore, away: Path) -> None:
    (store.path / "net" / "1" / "manifest.json").unlink()
    notes = pull(away, store).notes
    assert any("version 1 has no manifest in the store" in note for note in notes)
    assert not (away / "net" / "1").exists()


def test_libraries_beside_a_version_are_not_taken(store: FolderStore, away: Path) -> None:
    """Triton would load them before its own."""
    (store.path / "net" / "libtriton_onnxruntime.so").write_text("evil")
    (store.path / "net" / "2" / "extra.bin").write_text("unlisted")
    pull(away, store)
    assert not list(away.rglob("*.so")) + list(away.rglob("extra.bin"))


# --- versions never change, whoever asks -------------------------------------------


def test_another_version_here_is_refused_with_both_digests(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    Shelf(away).publish("net", labels=("cat", "dog"))
    before = state(away)
    with pytest.raises(StoreConflictError, match="another version under this number") as caught:
        pull(away, store, overwrite=True)
    assert str(caught.value.objects["here"]) in str(caught.value)
    assert str(caught.value.objects["there"]) in str(caught.value)
    assert state(away) == before


def test_a_folder_without_manifest_is_not_replaced(store: FolderStore, away: Path) -> None:
    (away / "net" / "2").mkdir(parents=True)
    (away / "net" / "2" / "model.onnx").write_text("by hand")
    with pytest.raises(IntegrityError, match="it has no manifest"):
        pull(away, store)
    assert (away / "net" / "2" / "model.onnx").read_text() == "by hand"


def test_signatures_come_later_too(shelf: Shelf, store: FolderStore, away: Path) -> None:
    pull(away, store)
    (shelf.path / "net" / "2" / "model.sig").write_text("signed")
    push_again(shelf, store)
    assert [c.what for c in pull(away, store).changes] == ["signature"]
    assert (away / "net" / "2" / "model.sig").read_text() == "signed"
    (store.path / "net" / "2" / "model.sig").write_text("forged")
    assert any("another model.sig" in note for note in pull(away, store).notes)
    assert (away / "net" / "2" / "model.sig").read_text() == "signed"


# --- who decides what serves -------------------------------------------------------


def test_a_promotion_there_serves_here(shelf: Shelf, store: FolderStore, away: Path) -> None:
    pull(away, store)
    shelf.promote("net", 1)
    push_again(shelf, store)
    assert [c.what for c in pull(away, store).changes] == ["configuration"]
    assert serves(away, "net") == [1]


def test_a_rollback_here_stays(store: FolderStore, away: Path) -> None:
    pull(away, store)
    Shelf(away).promote("net", 1)
    assert any("changed here, so it stays" in note for note in pull(away, store).notes)
    assert serves(away, "net") == [1]
    pull(away, store, overwrite=True)
    assert serves(away, "net") == [2]


def test_changes_on_both_sides_are_a_conflict(shelf: Shelf, store: FolderStore, away: Path) -> None:
    pull(away, store)
    Shelf(away).promote("net", 1)
    shelf.publish("net", labels=("cat", "dog"))
    push_again(shelf, store)
    with pytest.raises(StoreConflictError, match="version 1 serves here, version 3 serves there"):
        pull(away, store)
    assert not (away / "net" / "3").exists()
    pull(away, store, overwrite=True)
    assert serves(away, "net") == [3]


def test_labels_that_nothing_refers_to_any_more_go(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    pull(away, store)
    shelf.publish("net")
    push_again(shelf, store)
    assert not (store.path / "net" / "y_labels.txt").exists()
    pull(away, store)
    assert not (away / "net" / "y_labels.txt").exists()
    assert pull(away, store).changes == ()


# --- following a store with --delete ------------------------------------------------


def test_what_is_gone_there_goes_here_when_asked(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    pull(away, store)
    Shelf(store.path).remove("net", 1)
    pull(away, store)
    assert (away / "net" / "1").is_dir()
    changes = pull(away, store, delete=True).changes
    assert [(c.model, c.version, c.what) for c in changes] == [("net", 1, "removed")]
    assert not (away / "net" / "1").exists()
    assert pull(away, store, delete=True).changes == ()
    assert sorted(p.name for p in away.parent.iterdir()) == ["away", "home", "store"]


def test_what_never_was_there_stays(store: FolderStore, away: Path) -> None:
    pull(away, store)
    here = Shelf(away)
    here.promote("net", 2)
    here.publish("net", labels=("cat", "dog"))
    here.publish("mine")
    Shelf(store.path).remove("net", 1)
    pull(away, store, delete=True)
    assert [v for v in (1, 2, 3) if (away / "net" / str(v)).is_dir()] == [2, 3]
    assert (away / "mine" / "1").is_dir()


def test_pinned_versions_and_those_that_serve_stay(store: FolderStore, away: Path) -> None:
    pull(away, store)
    (away / "modelport.toml").write_text("[models.net]\npinned = [1]\n")
    Shelf(store.path).remove("net", 1)
    pull(away, store, delete=True)
    assert (away / "net" / "1").is_dir()
    (away / "modelport.toml").unlink()
    Shelf(away).promote("net", 1)
    pull(away, store, delete=True)
    assert (away / "net" / "1").is_dir()


def test_a_model_that_is_gone_goes_whole_unless_it_holds_more(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    for name in ("old", "kept"):
        shelf.publish(name)
    push_again(shelf, store)
    pull(away, store)
    (away / "kept" / "notes.txt").write_text("mine")
    for name in ("old", "kept"):
        subprocess.run(["rm", "-r", str(store.path / name)], check=True)
    outcome = pull(away, store, delete=True)
    assert not (away / "old").exists()
    assert (away / "kept" / "1" / "model.onnx").is_file()
    assert any("kept: not in the store any more, and stays" in note for note in outcome.notes)


@pytest.mark.parametrize("delete", [False, True])
def test_an_empty_store_is_an_error_and_no_order(
    away: Path, store: FolderStore, delete: bool
) -> None:
    pull(away, store)
    before = state(away)
    with pytest.raises(StoreError, match="there is no model in it"):
        pull(away, FolderStore(store.path / "wrong"), delete=delete)
    with pytest.raises(StoreError, match="did you mean chain") as caught:
        pull(away, store, ["chian"])
    assert "chian" in str(caught.value)
    assert state(away) == before


# --- the disk -----------------------------------------------------------------------


def test_what_does_not_fit_is_refused_before_it_is_fetched(
    store: FolderStore, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewritten(store, files=[{"path": "model.onnx", "size_bytes": 1 << 60, "sha256": "0" * 64}])
    with pytest.raises(PublishError, match="are to be fetched") as caught:
        pull(away, store)
    assert caught.value.cause == "the disk is full"
    assert state(away) == {}


def test_a_disk_that_refuses_leaves_all_as_it_was(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    """A limit on the size of files stands for a full disk; afterwards the pull goes on."""
    shelf.publish("big", size_bytes=3_000_000)
    push_again(shelf, store)
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from modelport.errors import PublishError\n"
        "from modelport.repository.stores import open_store\n"
        "from modelport.repository.stores.pull import pull\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: pull(Path(sys.argv[2]), open_store(sys.argv[1]))\n"
        "except PublishError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(store.path), str(away)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "larger than this process may write" in said
    assert state(away) == {}
    fresh = FolderStore(store.path)
    pull(away, fresh)
    assert versions(away) == versions(shelf.path)
    # The first MiB was there already.
    assert fresh.traffic.as_json()["bytes_received"] < 2_500_000
