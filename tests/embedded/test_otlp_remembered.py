"""Messages that come again and again are decoded once, and what senders choose fills no memory."""

from stackctl.embedded.otlp.remembered import Remembered


def test_only_what_was_not_seen_lately_is_decoded() -> None:
    """Of several messages the new ones are read, and each gets its own answer, in the order asked for."""
    read: list[list[bytes]] = []

    def decode(messages: list[bytes]) -> list[int]:
        read.append(messages)
        return [len(message) for message in messages]

    remembered = Remembered(decode)
    assert remembered.of([b"a", b"bb"]) == [1, 2]
    assert remembered.of([b"bb", b"ccc", b"a"]) == [2, 3, 1]
    assert remembered.of([b"a", b"ccc"]) == [1, 3]
    assert read == [[b"a", b"bb"], [b"ccc"]]


def test_many_or_long_messages_are_read_each_time() -> None:
    """Neither a flood of different messages nor one of a megabyte stays."""
    read: list[bytes] = []
    remembered = Remembered(lambda messages: read.extend(messages) or messages)
    long, many = b"x" * 1_000_000, [b"%d" % number for number in range(2000)]
    for messages in ([long], many):
        for _ in range(2):
            read.clear()
            assert remembered.of(messages) == messages
            assert read == messages
    for number in range(2000):
        remembered.of([b"%d" % number])
    read.clear()
    remembered.of([b"0"])
    assert read == [b"0"]
