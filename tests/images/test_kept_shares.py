"""Which images make room: those of the key that has the most, so that no key crowds out another's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.images.kept_shares import TAG_LENGTH, Kept, most_files, owner_tag, to_remove

ALICE, BOB, CAROL = (owner_tag(b"secret", name) for name in ("alice", "bob", "carol"))


def image(owner: str, number: int, size: int = 10, at: int | None = None) -> Kept:
    return Kept(f"{owner}{number:037d}.png", size, number if at is None else at)


def owners(gone: list[Kept]) -> list[str]:
    return [each.name[:TAG_LENGTH] for each in gone]


def test_a_tag_tells_owners_apart_and_nothing_else():
    assert len({ALICE, BOB, CAROL}) == 3
    assert owner_tag(b"secret", "alice") == ALICE != owner_tag(b"another", "alice")
    assert len(ALICE) == TAG_LENGTH
    assert "alice" not in ALICE


def test_who_has_most_makes_room_the_oldest_first():
    kept = [image(BOB, 0), image(BOB, 1), *(image(ALICE, number) for number in range(2, 10))]
    assert to_remove(kept, ALICE, 10, 100, 1000) == [kept[2]]
    assert to_remove(kept, BOB, 20, 100, 1000) == [kept[2], kept[3]]
    assert to_remove(kept, CAROL, 0, 100, 1000) == []


def test_a_flood_of_one_leaves_the_others_alone():
    kept = [image(BOB, 0, 30), image(CAROL, 1, 30)]
    for number in range(2, 500):
        new = image(ALICE, number, 10)
        gone = to_remove(kept, ALICE, new.size, 100, 1000)
        assert set(owners(gone)) <= {ALICE}
        kept = [each for each in kept if each not in gone] + [new]
    assert sum(each.size for each in kept) <= 100
    assert {image(BOB, 0, 30), image(CAROL, 1, 30)} <= set(kept)


def test_tiny_images_are_counted_too():
    kept = [image(BOB, 0), *(image(ALICE, number, 1) for number in range(1, 50))]
    assert owners(to_remove(kept, ALICE, 1, 10_000, 50)) == [ALICE]
    assert owners(to_remove(kept, BOB, 1, 10_000, 40)) == [ALICE] * 11
    assert most_files(1000) == 10_000
    assert most_files(100 << 30) > 1_000_000


OWNED = st.lists(
    st.builds(image, st.sampled_from([ALICE, BOB, CAROL]), st.integers(0, 10**6), st.integers(1, 50)), max_size=60,
    unique_by=lambda each: each.name,
)  # fmt: skip


@given(OWNED, st.sampled_from([ALICE, BOB]), st.integers(0, 50), st.integers(50, 400), st.integers(1, 40))
def test_what_is_left_fits_and_nobody_below_an_equal_share_lost_anything(kept, owner, room, keep_max, most):
    gone = to_remove(kept, owner, room, keep_max, most)
    left = [each for each in kept if each not in gone]
    assert sum(each.size for each in left) + room <= keep_max
    assert len(left) + (room > 0) <= most
    for tag in {ALICE, BOB, CAROL} - {owner} if room <= keep_max // 3 else ():
        size = sum(each.size for each in kept if each.name.startswith(tag))
        count = sum(each.name.startswith(tag) for each in kept)
        if size <= keep_max // 3 and count <= most // 3:
            assert tag not in owners(gone)
