"""What an unmodified Python client of NATS sees: nats_client.py NEAR FAR, two bridges with a third between them.

Ends with 0 where everything was as such clients expect it; prints what was not, and ends with 1.
"""

import asyncio
import sys

import nats
from nats.errors import MaxPayloadError, NoRespondersError

WAIT = 30


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: {got!r} instead of {wanted!r}")


async def subscribed(near, subscription, probe, data=b"probe"):
    """Publishes probes until one has come: the others know of the subscription then."""
    for _ in range(WAIT * 20):
        await near.publish(probe, data)
        try:
            await subscription.next_msg(timeout=0.05)
            break
        except nats.errors.TimeoutError:
            continue
    else:
        raise AssertionError(f"nothing arrived for {probe}")
    # Other probes may be on their way: what follows has an end that is told apart.
    await near.publish(probe, b"last probe")
    while (await subscription.next_msg(timeout=WAIT)).data != b"last probe":
        pass


async def messages(near, far):
    subscription = await far.subscribe("prices.>")
    await subscribed(near, subscription, "prices.probe")
    await near.publish("prices.plain", b"4.20")
    message = await subscription.next_msg(timeout=WAIT)
    expect("plain", (message.subject, message.data, message.headers), ("prices.plain", b"4.20", None))
    await near.publish("prices.headers", b"{}", headers={"Unit": "100 g"})
    message = await subscription.next_msg(timeout=WAIT)
    expect("headers", (message.data, message.headers.get("Unit")), (b"{}", "100 g"))
    event = {"ce-specversion": "1.0", "ce-id": "py-1", "ce-source": "/py", "ce-type": "price.changed"}
    await near.publish("prices.event", b"{}", headers=event)
    message = await subscription.next_msg(timeout=WAIT)
    expect("attributes", {name: message.headers.get(name) for name in event}, event)
    for number in range(5_000):
        await near.publish("prices.many", str(number).encode())
    for number in range(5_000):
        message = await subscription.next_msg(timeout=WAIT)
        expect("order", message.data, str(number).encode())
    await subscription.unsubscribe()


async def requests(near, far):
    async def answer(message):
        await message.respond(b"4.20 for " + message.data)

    service = await far.subscribe("ask.py", cb=answer)
    for attempt in range(WAIT * 20):
        try:
            reply = await near.request("ask.py", b"tea", timeout=WAIT)
            break
        except NoRespondersError:
            await asyncio.sleep(0.05)
    else:
        raise AssertionError("nobody answers")
    expect("reply", reply.data, b"4.20 for tea")
    replies = await asyncio.gather(*(near.request("ask.py", str(n).encode(), timeout=WAIT) for n in range(100)))
    expect("replies", [reply.data for reply in replies], [f"4.20 for {n}".encode() for n in range(100)])
    await service.unsubscribe()
    try:
        await near.request("ask.nobody", b"", timeout=WAIT)
        raise AssertionError("somebody answered what nobody listens to")
    except NoRespondersError:
        pass


async def groups(near, far):
    seen = []

    def member(name):
        async def take(message):
            if message.data != b"probe":
                seen.append((name, message.data))

        return take

    members = [await far.subscribe("prices.group", queue="tellers", cb=member(name)) for name in "ab"]
    alone = await far.subscribe("prices.group")
    await subscribed(near, alone, "prices.group", b"probe")
    for number in range(200):
        await near.publish("prices.group", str(number).encode())
    for _ in range(WAIT * 20):
        if len([one for one in seen if one[1] != b"last probe"]) >= 200:
            break
        await asyncio.sleep(0.05)
    got = sorted(int(data) for _, data in seen if data != b"last probe")
    expect("shared once", got, list(range(200)))
    expect("members", {name for name, _ in seen}, {"a", "b"})
    for subscription in [*members, alone]:
        await subscription.unsubscribe()
    few = await far.subscribe("prices.few", max_msgs=3)
    await far.flush()
    count = 0
    for number in range(WAIT * 20):
        await near.publish("prices.few", str(number).encode())
        try:
            await few.next_msg(timeout=0.05)
            count += 1
        except nats.errors.TimeoutError:
            continue
        except nats.errors.BadSubscriptionError:
            break
    if count > 3:
        raise AssertionError(f"{count} messages after a maximum of 3")


async def durable(near, _far):
    stream = near.jetstream()
    acks = [await stream.publish("orders.py", str(number).encode()) for number in range(50)]
    expect("numbers", len({(ack.stream, ack.seq) for ack in acks}), 50)
    first = await stream.publish("orders.again", b"x", headers={"Nats-Msg-Id": "m-1"})
    second = await stream.publish("orders.again", b"x", headers={"Nats-Msg-Id": "m-1"})
    expect("duplicate", (second.duplicate, second.seq), (True, first.seq))
    try:
        await stream.account_info()
        raise AssertionError("there are no streams to ask for")
    except (nats.js.errors.ServiceUnavailableError, nats.js.errors.NoStreamResponseError, NoRespondersError):
        pass


async def refusals(near, _far, told):
    await near.publish("closed.door", b"x")
    await near.flush()
    for _ in range(WAIT * 20):
        if any("permissions violation" in text.lower() for text in told):
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError(f"not told of what a rule refuses: {told}")
    try:
        await near.publish("prices.large", bytes(near.max_payload + 1))
        raise AssertionError("a payload beyond the maximum was taken")
    except MaxPayloadError:
        pass


async def main(near_address, far_address):
    told = []

    async def on_error(problem):
        told.append(str(problem))

    near = await nats.connect(near_address, error_cb=on_error)
    far = await nats.connect(far_address)
    for check in (messages, requests, groups, durable):
        await check(near, far)
    await refusals(near, far, told)
    await far.drain()
    await near.close()


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 4 * WAIT))
