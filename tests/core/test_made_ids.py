"""What is remembered of the ids that answers gave to each key: bounded, until it ends, and never for another key."""

from __future__ import annotations

from gateway.core.made_ids import LONGEST_LIFE, USUAL_LIFE, MadeIds


def test_an_id_is_known_for_the_key_that_got_it_until_it_ends():
    made = MadeIds()
    made.add("alice", "a", 100.0, 160.0)
    assert made.knows("alice", "a", 159.0)
    assert not made.knows("alice", "a", 160.0)
    assert not made.knows("bob", "a", 101.0)
    assert not made.knows("alice", "b", 101.0)


def test_an_end_that_cannot_be_is_not_believed():
    made = MadeIds()
    for until in (None, 0.0, -5.0, 99.0):
        made.add("alice", str(until), 100.0, until)
        assert made.knows("alice", str(until), 100.0 + USUAL_LIFE - 1)
        assert not made.knows("alice", str(until), 100.0 + USUAL_LIFE)
    made.add("alice", "for ever", 100.0, 1e11)
    assert not made.knows("alice", "for ever", 100.0 + LONGEST_LIFE)


def test_one_key_makes_no_other_forget():
    made = MadeIds(most_of_a_key=10)
    made.add("bob", "b", 0.0)
    for number in range(1000):
        made.add("alice", str(number), 0.0)
    assert made.knows("bob", "b", 1.0)
    assert [number for number in range(1000) if made.knows("alice", str(number), 1.0)] == list(range(990, 1000))


def test_all_together_are_bounded():
    made = MadeIds(most_of_a_key=10, most_of_all=25)
    for key in range(100):
        for number in range(10):
            made.add(str(key), str(number), 0.0)
    known = [(key, number) for key in range(100) for number in range(10) if made.knows(str(key), str(number), 1.0)]
    assert len(known) == 25
    assert ("99" in {str(key) for key, _ in known}) is True
