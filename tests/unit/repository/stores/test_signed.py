"""A repository that demands signatures takes nothing that would serve without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from proven import Shelf, serves, state

from modelport.errors import IntegrityError
from modelport.repository import keys, signing, trust
from modelport.repository.stores.folder import FolderStore
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """The private key; its public half lies beside it."""
    keys.generate(tmp_path / "team")
    return tmp_path / "team"


@pytest.fixture
def careful(away: Path, team: Path) -> Path:
    """A repository that demands the signature of the team."""
    away.mkdir()
    (away / "team.pub").write_bytes(keys.public_path(team).read_bytes())
    (away / "modelport.toml").write_text('[trust]\nrequire = true\nkeys = ["team.pub"]\n')
    return away


def send(shelf: Shelf, tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "store")
    push(shelf.path, store)
    store.close()
    return store


def sign(shelf: Shelf, key: Path, *versions: tuple[str, int]) -> None:
    signing.sign(shelf.path, [(shelf.folder(n), v) for n, v in versions], key)


ALL = (("net", 2), ("chain", 1))


def test_what_is_signed_arrives_and_is_verified(
    shelf: Shelf, team: Path, careful: Path, tmp_path: Path
) -> None:
    sign(shelf, team, *ALL)
    pull(careful, send(shelf, tmp_path))
    known = trust.known_keys(careful)
    for name, version in ALL:
        trust.check(Shelf(careful).folder(name), version, known)


def test_what_is_unsigned_does_not_arrive(
    shelf: Shelf, team: Path, careful: Path, tmp_path: Path
) -> None:
    before = state(careful)
    sign(shelf, team, ("net", 2))
    with pytest.raises(IntegrityError, match="chain/1: nobody has signed it"):
        pull(careful, send(shelf, tmp_path))
    assert state(careful) == before


def test_a_strange_key_does_not_count(shelf: Shelf, careful: Path, tmp_path: Path) -> None:
    keys.generate(tmp_path / "stranger")
    sign(shelf, tmp_path / "stranger", *ALL)
    with pytest.raises(IntegrityError, match="signed with the key"):
        pull(careful, send(shelf, tmp_path))


def test_a_key_that_is_given_demands_too(
    shelf: Shelf, team: Path, away: Path, tmp_path: Path
) -> None:
    store = send(shelf, tmp_path)
    with pytest.raises(IntegrityError, match="nobody has signed it"):
        pull(away, store, trusted=[keys.public_path(team)])
    pull(away, store)
    assert serves(away, "net") == [2]


def test_a_signature_may_come_with_the_promotion(
    shelf: Shelf, team: Path, careful: Path, tmp_path: Path
) -> None:
    """Version 3 arrived unsigned, as it did not serve; now it is signed and serves."""
    sign(shelf, team, *ALL)
    shelf.promote("net", 2)
    shelf.publish("net", labels=("cat", "dog"))
    pull(careful, send(shelf, tmp_path))
    assert (careful / "net" / "3" / "manifest.json").is_file()
    shelf.promote("net", 3)
    with pytest.raises(IntegrityError, match="net/3: nobody has signed it"):
        pull(careful, send(shelf, tmp_path))
    assert serves(careful, "net") == [2]
    sign(shelf, team, ("net", 3))
    pull(careful, send(shelf, tmp_path))
    assert serves(careful, "net") == [3]
    trust.check(Shelf(careful).folder("net"), 3, trust.known_keys(careful))
