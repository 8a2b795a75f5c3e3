"""The streams of a real server, and their set-up."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from nats.js import JetStreamContext, api
from nats.js.errors import APIError

from ops.nats_server import NatsServer
from shared import names, partitioning, quota, streams, user_names
from shared.bus import Bus
from shared.partitioning import DEFAULT_PARTITIONS, partition_of, partitions_in


@pytest.fixture
async def js(nats: NatsServer) -> AsyncIterator[JetStreamContext]:
    bus = await Bus.connect(nats.url, name="test")
    yield bus.js
    await bus.close()


@pytest.fixture
async def bare_js(js: JetStreamContext) -> JetStreamContext:
    """A server without streams."""
    for info in await js.streams_info():
        await js.delete_stream(info.config.name or "")
    return js


async def test_a_prompt_is_stored_under_its_partition(js: JetStreamContext) -> None:
    """`prompts.slack.T1` becomes `p.<n>.slack.T1`, always with the same number."""
    first = await js.publish("prompts.slack.T1", b"1")
    second = await js.publish("prompts.slack.T1", b"2")
    subjects = {(await js.get_msg(names.PROMPTS, ack.seq)).subject for ack in (first, second)}
    assert len(subjects) == 1
    _, partition, rest = subjects.pop().split(".", 2)
    assert rest == "slack.T1"
    assert 0 <= int(partition) < DEFAULT_PARTITIONS


async def test_users_spread_over_all_partitions(js: JetStreamContext) -> None:
    """400 users use all partitions."""
    spread: Counter[str] = Counter()
    for number in range(400):
        ack = await js.publish(f"prompts.slack.T{number}", b"x")
        message = await js.get_msg(names.PROMPTS, ack.seq)
        spread[(message.subject or "").split(".")[1]] += 1
    assert len(spread) == DEFAULT_PARTITIONS
    assert min(spread.values()) > 5


ODD_NAMES = ("", " ", "a b", "Ünï-cödé", "名前", "x" * 60, "a.b.c", "*", ">", "_", "U01:T02", "-1")


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 16, 64, 100, 255, 256])
async def test_we_know_the_partition_in_which_the_server_stores_a_user(
    bare_js: JetStreamContext, partitions: int
) -> None:
    """Whoever looks for a conversation must look where its events are."""
    await streams.set_up(bare_js, partitions=partitions)
    users = [user_names.user_of("test", name) for name in ODD_NAMES if name]
    users += [user_names.user_of(platform, f"{platform}{number}")
              for platform in ("slack", "discord") for number in range(60)]  # fmt: skip
    for user in users:
        ack = await bare_js.publish(names.prompt_subject(user), b"x")
        stored = (await bare_js.get_msg(names.PROMPTS, ack.seq)).subject or ""
        assert int(stored.split(".")[1]) == partition_of(user, partitions), user
        assert names.user_of_stored(stored) == user


async def test_the_number_of_partitions_is_chosen_once(bare_js: JetStreamContext) -> None:
    """Without a wish the streams keep their number; another one is refused, and nothing changes."""

    async def live() -> int | None:
        transform = (await bare_js.stream_info(names.PROMPTS)).config.subject_transform
        return partitions_in(transform.dest if transform else "")

    await streams.set_up(bare_js, partitions=5)
    assert await live() == 5
    await streams.set_up(bare_js)
    await streams.set_up(bare_js, partitions=5)
    with pytest.raises(partitioning.OtherPartitions, match="has 5 partitions") as refused:
        await streams.set_up(bare_js, partitions=16)
    assert "16 are wanted" in str(refused.value)
    assert await live() == 5


async def test_plain_requests_are_not_stored(js: JetStreamContext) -> None:
    """The gateway's subject `prompts` does not belong to any stream."""
    with pytest.raises(Exception, match="no response from stream"):
        await js.publish(names.GATEWAY_SUBJECT, b"x", timeout=1)


async def test_a_second_set_up_changes_nothing(js: JetStreamContext) -> None:
    """No stream is updated: the server would send an advisory."""
    subscription = await js._nc.subscribe("$JS.EVENT.ADVISORY.STREAM.>")
    await js._nc.flush()
    before = [info.config for info in await js.streams_info()]
    await streams.set_up(js)
    await js.account_info()
    assert subscription.pending_msgs == 0
    assert [info.config for info in await js.streams_info()] == before


async def test_the_set_up_corrects_our_settings_and_keeps_those_of_the_operator(
    js: JetStreamContext,
) -> None:
    """Messages are kept, too."""
    await js.publish("replies.slack.T1.x", b"kept")
    live = (await js.stream_info(names.REPLIES)).config
    await js.update_stream(
        live.evolve(
            max_age=60.0, duplicate_window=60.0, description="ours", max_bytes=2 * streams.GIB
        )
    )
    await streams.set_up(js)
    info = await js.stream_info(names.REPLIES)
    assert info.config.max_age == streams.KEPT_S
    assert info.config.duplicate_window == streams.DUPLICATES_S
    assert info.config.max_bytes == 2 * streams.GIB  # a larger limit is kept
    assert info.config.description == "ours"
    assert info.state.messages == 1


async def remove_limits(js: JetStreamContext) -> None:
    """Changes the streams to those that older versions created."""
    for name in (names.PROMPTS, names.DLQ):
        live = (await js.stream_info(name)).config
        await js.update_stream(
            live.evolve(max_msgs_per_subject=-1, discard_new_per_subject=False, allow_atomic=False)
        )


async def test_the_set_up_limits_the_streams_of_an_older_version(js: JetStreamContext) -> None:
    """After an upgrade each user has a limit, and all messages are kept."""
    await remove_limits(js)
    await js.publish("prompts.slack.T1", b"kept")
    await streams.set_up(js)
    prompts = await js.stream_info(names.PROMPTS)
    assert prompts.config.max_msgs_per_subject == quota.EVENTS_OF_A_USER
    assert prompts.config.discard_new_per_subject
    assert prompts.state.messages == 1
    dead = (await js.stream_info(names.DLQ)).config
    assert dead.max_msgs_per_subject == streams.DEAD_LETTERS_OF_A_SUBJECT


@pytest.mark.parametrize("others", [0, 3])
async def test_the_set_up_deletes_no_messages_to_apply_a_limit(
    js: JetStreamContext, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """The server would delete messages above a new limit, so the limit is not set yet."""
    await remove_limits(js)
    monkeypatch.setattr(quota, "EVENTS_OF_A_USER", 3)
    for number in range(4):
        await js.publish("prompts.slack.T1", f"{number}".encode())
    for number in range(others):
        await js.publish(f"prompts.slack.O{number}", b"x")
    await streams.set_up(js)
    prompts = await js.stream_info(names.PROMPTS)
    assert prompts.state.messages == 4 + others
    assert prompts.config.max_msgs_per_subject == -1
    assert prompts.config.allow_atomic  # everything else is updated
    await js.purge_stream(names.PROMPTS, keep=3)
    await streams.set_up(js)
    prompts = await js.stream_info(names.PROMPTS)
    assert prompts.config.max_msgs_per_subject == 3
    assert prompts.state.messages == 3


async def test_the_set_up_limits_a_stream_of_many_users(
    js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is set if no single user has more messages."""
    await remove_limits(js)
    monkeypatch.setattr(quota, "EVENTS_OF_A_USER", 3)
    for number in range(5):
        await js.publish(f"prompts.slack.T{number}", b"x")
    await streams.set_up(js)
    assert (await js.stream_info(names.PROMPTS)).config.max_msgs_per_subject == 3


async def test_the_set_up_keeps_a_larger_limit_of_the_operator(js: JetStreamContext) -> None:
    """The same applies to the size of a stream."""
    live = (await js.stream_info(names.PROMPTS)).config
    await js.update_stream(live.evolve(max_msgs_per_subject=2 * quota.EVENTS_OF_A_USER))
    await streams.set_up(js)
    live = (await js.stream_info(names.PROMPTS)).config
    assert live.max_msgs_per_subject == 2 * quota.EVENTS_OF_A_USER
    assert live.discard_new_per_subject


@pytest.mark.parametrize(
    ("transform", "live"),
    [
        (
            api.SubjectTransform(
                "prompts.*.*", "p.{{partition(8)}}.{{wildcard(1)}}.{{wildcard(2)}}"
            ),
            8,
        ),
        (
            api.SubjectTransform(
                "prompts.*.*", "p.{{partition(16,1)}}.{{wildcard(1)}}.{{wildcard(2)}}"
            ),
            None,
        ),
        (None, None),
    ],
)
async def test_a_stream_with_other_partitions_is_refused(
    js: JetStreamContext, transform: api.SubjectTransform | None, live: int | None
) -> None:
    """The message explains the difference, and the stream is not changed."""
    await js.delete_stream(names.PROMPTS)
    await js.delete_stream(names.DLQ)
    await js.add_stream(
        api.StreamConfig(name=names.PROMPTS, subjects=["prompts.*.*"], subject_transform=transform)
    )
    with pytest.raises(
        partitioning.OtherPartitions, match="move users between partitions"
    ) as caught:
        await streams.set_up(js, partitions=16)
    assert caught.value.live == live
    assert names.DLQ not in {info.config.name for info in await js.streams_info()}


async def test_a_prompt_over_the_limit_is_refused(js: JetStreamContext) -> None:
    """A prompt over 256 KiB causes an error and is not cut."""
    with pytest.raises(APIError):
        await js.publish("prompts.slack.T1", b"x" * (streams.PROMPT_BYTES + 1))


async def test_the_same_message_id_is_stored_once(js: JetStreamContext) -> None:
    headers = {"Nats-Msg-Id": "slack-1"}
    assert not (await js.publish("prompts.slack.T1", b"x", headers=headers)).duplicate
    assert (await js.publish("prompts.slack.T1", b"x", headers=headers)).duplicate


async def test_receipts_work_as_a_bucket(js: JetStreamContext) -> None:
    """nats-py's own bucket type can read and write it."""
    receipts = await js.key_value(names.RECEIPTS)
    await receipts.create("prompt.0", b"ts")
    with pytest.raises(APIError):
        await receipts.create("prompt.0", b"again")
    assert (await receipts.get("prompt.0")).value == b"ts"


async def test_the_reply_consumer_is_created_once_and_updated(js: JetStreamContext) -> None:
    """Redelivery has no limit, and a second call updates only settings that differ."""
    await streams.ensure_reply_consumer(js, "slack", "replies.slack.>")
    made = await js.consumer_info(names.REPLIES, "slack")
    assert made.config.max_deliver == -1
    assert made.config.ack_wait == streams.ACK_WAIT_S
    assert made.config.max_ack_pending == streams.MAX_ACK_PENDING
    await streams.ensure_reply_consumer(js, "slack", "replies.slack.>", inactive_s=90)
    updated = await js.consumer_info(names.REPLIES, "slack")
    assert updated.config.inactive_threshold == 90
    assert updated.created == made.created


def test_the_monitoring_shows_whether_the_server_syncs(nats: NatsServer) -> None:
    """The embedded server always syncs; a server that does not respond is not called durable."""
    assert streams.sync_always(nats.monitor_url)
    nats.stop()
    with pytest.raises(streams.NotMonitored):
        streams.sync_always(nats.monitor_url)
