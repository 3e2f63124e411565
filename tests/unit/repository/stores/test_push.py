"""Pushing to a folder: what is sent, what is refused, and who decides what serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from proven import Shelf, serves, state, versions

from modelport.errors import (
    ConfigError,
    IntegrityError,
    RepositoryError,
    StoreConflictError,
    StoreError,
)
from modelport.repository.stores.folder import FolderStore
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push
from modelport.repository.stores.work import Outcome


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


def send(shelf: Shelf, store: FolderStore, *names: str, overwrite: bool = False) -> Outcome:
    """Push and close, as the command does."""
    fresh = FolderStore(store.path)
    try:
        return push(shelf.path, fresh, names, overwrite=overwrite)
    finally:
        fresh.close()


def test_a_store_gets_every_proven_version_as_it_is(shelf: Shelf, store: FolderStore) -> None:
    outcome = send(shelf, store)
    assert versions(store.path) == versions(shelf.path)
    assert {(c.model, c.version) for c in outcome.changes if c.what == "version"} == {
        ("net", 1),
        ("net", 2),
        ("chain", 1),
    }
    assert sorted(p.name for p in store.path.parent.iterdir()) == ["home", "store"]


def test_parts_are_written_before_those_that_run_them(shelf: Shelf, store: FolderStore) -> None:
    names = [c.model for c in send(shelf, store, "chain").changes]
    assert names.index("net") < names.index("chain")


def test_config_in_a_store_names_its_versions(shelf: Shelf, store: FolderStore) -> None:
    send(shelf, store)
    text = (store.path / "net" / "config.pbtxt").read_text()
    assert "specific" in text
    assert serves(store.path, "net") == [2]
    assert (store.path / "net" / "y_labels.txt").read_text() == "cat\ndog\n"
    assert "specific" not in (shelf.path / "net" / "config.pbtxt").read_text()


def test_a_second_push_sends_nothing(shelf: Shelf, store: FolderStore) -> None:
    send(shelf, store)
    before = {p: p.stat().st_mtime_ns for p in store.path.rglob("*") if p.is_file()}
    outcome = send(shelf, store)
    assert outcome.changes == ()
    assert outcome.traffic["files_sent"] == 0
    assert before == {p: p.stat().st_mtime_ns for p in store.path.rglob("*") if p.is_file()}


def test_a_new_version_sends_just_that(shelf: Shelf, store: FolderStore) -> None:
    send(shelf, store)
    shelf.publish("net", labels=("cat", "dog"))
    changes = send(shelf, store).changes
    assert [(c.model, c.version, c.what) for c in changes] == [
        ("net", 3, "version"),
        ("net", None, "configuration"),
    ]
    assert serves(store.path, "net") == [3]


def test_a_dry_run_changes_nothing(shelf: Shelf, store: FolderStore) -> None:
    here = state(shelf.path)
    outcome = push(shelf.path, store, dry_run=True)
    assert outcome.dry_run
    assert len(outcome.changes) == 5
    assert not store.path.exists()
    assert state(shelf.path) == here
    assert [c.what for c in send(shelf, store).changes] == [c.what for c in outcome.changes]


# --- versions never change --------------------------------------------------------


def test_other_content_under_a_number_is_refused_with_both_digests(
    shelf: Shelf, store: FolderStore, tmp_path: Path
) -> None:
    send(shelf, store)
    other = Shelf(tmp_path / "other")
    other.publish("net", labels=("cat", "dog"))
    there = state(store.path)
    with pytest.raises(StoreConflictError, match="net/1: there is another version") as caught:
        send(other, store, overwrite=True)
    digests = {caught.value.objects["here"], caught.value.objects["there"]}
    assert len(digests) == 2
    assert all(str(digest) in str(caught.value) for digest in digests)
    assert state(store.path) == there


def test_one_changed_byte_here_is_found_before_it_travels(shelf: Shelf, store: FolderStore) -> None:
    weights = shelf.path / "net" / "2" / "model.onnx"
    weights.write_bytes(b"?" + weights.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=r"net/2/model\.onnx: sha256"):
        send(shelf, store)
    assert not (store.path / "net" / "2" / "manifest.json").exists()
    assert not (store.path / "net" / "config.pbtxt").exists()


def test_what_a_store_has_lost_is_sent_again(shelf: Shelf, store: FolderStore) -> None:
    send(shelf, store)
    (store.path / "net" / "1" / "model.onnx").unlink()
    (store.path / "net" / "2" / "y_labels.txt").write_text("c")
    changes = send(shelf, store).changes
    assert [(c.version, c.what, c.files) for c in changes] == [(1, "files", 1), (2, "files", 1)]
    assert versions(store.path) == versions(shelf.path)


def test_a_claim_of_other_content_keeps_others_out(shelf: Shelf, store: FolderStore) -> None:
    """A push that began elsewhere has not come to its end."""
    send(shelf, store)
    shelf.publish("net", labels=("cat", "dog"))
    claim = store.path / "net" / ".3.push"
    claim.write_text(json.dumps({"manifest": "f" * 64, "since": "2026-11-22T10:00:00+00:00"}))
    with pytest.raises(StoreConflictError, match="being pushed since 2026-11-22") as caught:
        send(shelf, store)
    assert "f" * 64 in str(caught.value)
    assert not (store.path / "net" / "3").exists()
    claim.unlink()
    send(shelf, store)
    assert serves(store.path, "net") == [3]
    assert not claim.exists()


# --- what is left out, and what is refused -----------------------------------------


def test_versions_made_by_hand_are_left_out_by_name(shelf: Shelf, store: FolderStore) -> None:
    shelf.promote("net", 2)
    (shelf.path / "net" / "7").mkdir()
    (shelf.path / "net" / "7" / "model.onnx").write_text("by hand")
    (shelf.path / "byhand" / "1").mkdir(parents=True)
    (shelf.path / "byhand" / "config.pbtxt").write_text('name: "byhand"')
    notes = send(shelf, store).notes
    assert [n for n in notes if "byhand: left out" in n]
    assert [n for n in notes if n.startswith("net: left out, for want of a manifest: version 7")]
    assert not (store.path / "net" / "7").exists()
    assert not (store.path / "byhand").exists()
    with pytest.raises(IntegrityError, match="no version of it was proven"):
        send(shelf, store, "byhand")


def test_what_serves_must_be_proven(shelf: Shelf, store: FolderStore) -> None:
    """By `latest` the newest folder would serve, and nothing proves it."""
    (shelf.path / "net" / "7").mkdir()
    with pytest.raises(IntegrityError, match=r"version 7 serves by it, and has no manifest"):
        send(shelf, store)
    assert not store.path.exists() or not versions(store.path)


def test_a_config_that_nothing_proves_is_refused(shelf: Shelf, store: FolderStore) -> None:
    path = shelf.path / "net" / "config.pbtxt"
    path.write_text(path.read_text().replace("max_batch_size: 8", "max_batch_size: 9"))
    with pytest.raises(ConfigError, match="differs from that of version 2"):
        send(shelf, store)


def test_labels_that_nothing_proves_are_refused(shelf: Shelf, store: FolderStore) -> None:
    (shelf.path / "net" / "y_labels.txt").write_text("dog\ncat\n")
    with pytest.raises(ConfigError, match=r"y_labels\.txt is not the one that version 2"):
        send(shelf, store)


def test_an_unknown_name_is_refused(shelf: Shelf, store: FolderStore) -> None:
    with pytest.raises(RepositoryError, match="there is no model 'nett'"):
        send(shelf, store, "nett")


def test_a_store_without_a_parent_is_not_made_up(shelf: Shelf, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder"):
        send(shelf, FolderStore(tmp_path / "unmounted" / "store"))


def test_bytecode_and_hidden_files_stay_at_home(shelf: Shelf, store: FolderStore) -> None:
    (shelf.path / "net" / "2" / "__pycache__").mkdir()
    (shelf.path / "net" / "2" / "__pycache__" / "model.pyc").write_text("")
    (shelf.path / "net" / "2" / "unlisted.bin").write_text("")
    send(shelf, store)
    names = {p.name for p in store.path.rglob("*") if p.is_file()}
    assert not names & {"model.pyc", "unlisted.bin"}


# --- signatures --------------------------------------------------------------------


def test_signatures_travel_with_a_version_or_after_it(shelf: Shelf, store: FolderStore) -> None:
    (shelf.path / "net" / "2" / "model.sig").write_text("signed")
    send(shelf, store)
    assert (store.path / "net" / "2" / "model.sig").read_text() == "signed"
    (shelf.path / "net" / "1" / "model.sig").write_text("later")
    changes = send(shelf, store).changes
    assert [(c.version, c.what) for c in changes] == [(1, "signature")]
    assert (store.path / "net" / "1" / "model.sig").read_text() == "later"


def test_another_signature_is_replaced_only_when_asked(shelf: Shelf, store: FolderStore) -> None:
    signature = shelf.path / "net" / "1" / "model.sig"
    signature.write_text("first")
    send(shelf, store)
    signature.write_text("again")
    assert any("another model.sig" in note for note in send(shelf, store).notes)
    assert (store.path / "net" / "1" / "model.sig").read_text() == "first"
    send(shelf, store, overwrite=True)
    assert (store.path / "net" / "1" / "model.sig").read_text() == "again"


# --- who decides what serves -------------------------------------------------------


def test_a_promotion_here_serves_there(shelf: Shelf, store: FolderStore) -> None:
    send(shelf, store)
    shelf.promote("net", 1)
    assert [c.what for c in send(shelf, store).changes] == ["configuration"]
    assert serves(store.path, "net") == [1]


def test_a_stale_machine_does_not_undo_a_promotion(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    send(shelf, store)
    pull(away, store)
    shelf.promote("net", 1)
    send(shelf, store)
    other = Shelf(away)
    outcome = send(other, store)
    assert any("net: the store serves 1" in note for note in outcome.notes)
    assert serves(store.path, "net") == [1]


def test_two_promotions_are_a_conflict_until_somebody_decides(
    shelf: Shelf, store: FolderStore, away: Path
) -> None:
    send(shelf, store)
    pull(away, store)
    other = Shelf(away)
    shelf.publish("net", labels=("cat", "dog"))
    send(shelf, store)
    other.promote("net", 1)
    with pytest.raises(StoreConflictError, match="version 3 serves there, 1 here"):
        send(other, store)
    assert serves(store.path, "net") == [3]
    send(other, store, overwrite=True)
    assert serves(store.path, "net") == [1]


def test_a_repository_that_never_was_in_step_changes_nothing(
    shelf: Shelf, store: FolderStore, tmp_path: Path
) -> None:
    send(shelf, store)
    copy = Shelf(tmp_path / "copy")
    for path, content in state(shelf.path).items():
        (copy.path / path).parent.mkdir(parents=True, exist_ok=True)
        (copy.path / path).write_bytes(content)
    copy.promote("net", 1)
    with pytest.raises(StoreConflictError, match="never was in step"):
        send(copy, store)
    assert serves(store.path, "net") == [2]
