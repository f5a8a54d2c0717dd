// What an unmodified Go client of NATS sees: nats_client NEAR FAR, two bridges with a third between them.
//
// Ends with 0 where everything was as such clients expect it; prints what was not, and ends with 1.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const wait = 30 * time.Second

func check(problem error, what string) {
	if problem != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, problem)
		os.Exit(1)
	}
}

func expect(isSo bool, format string, values ...any) {
	if !isSo {
		check(fmt.Errorf(format, values...), "not as expected")
	}
}

// Publishes probes until one has come: the others know of the subscription then.
func subscribed(near *nats.Conn, subscription *nats.Subscription, probe string) {
	for end := time.Now().Add(wait); ; {
		check(near.Publish(probe, []byte("probe")), probe)
		if _, problem := subscription.NextMsg(50 * time.Millisecond); problem == nil {
			break
		}
		expect(time.Now().Before(end), "nothing arrived for %s", probe)
	}
	check(near.Publish(probe, []byte("last probe")), probe)
	for {
		message, problem := subscription.NextMsg(wait)
		check(problem, probe)
		if string(message.Data) == "last probe" {
			return
		}
	}
}

func messages(near, far *nats.Conn) {
	subscription, problem := far.SubscribeSync("prices.>")
	check(problem, "subscribe")
	subscribed(near, subscription, "prices.probe")
	check(near.Publish("prices.plain", []byte("4.20")), "publish")
	message, problem := subscription.NextMsg(wait)
	check(problem, "plain")
	expect(message.Subject == "prices.plain" && string(message.Data) == "4.20" && len(message.Header) == 0, "%+v", message)
	event := nats.NewMsg("prices.event")
	event.Data = []byte("{}")
	for name, value := range map[string]string{"ce-specversion": "1.0", "ce-id": "go-1", "ce-source": "/go", "ce-type": "t", "Unit": "100 g"} {
		event.Header[name] = []string{value}
	}
	check(near.PublishMsg(event), "publish with headers")
	message, problem = subscription.NextMsg(wait)
	check(problem, "headers")
	for name, values := range event.Header {
		expect(len(message.Header[name]) == 1 && message.Header[name][0] == values[0], "%s: %v", name, message.Header)
	}
	const many = 20000
	go func() {
		for number := 0; number < many; number++ {
			check(near.Publish("prices.many", []byte(strconv.Itoa(number))), "publish many")
		}
		check(near.Flush(), "flush")
	}()
	for number := 0; number < many; number++ {
		message, problem := subscription.NextMsg(wait)
		check(problem, fmt.Sprintf("message %d", number))
		expect(string(message.Data) == strconv.Itoa(number), "%s instead of %d", message.Data, number)
	}
	check(subscription.Unsubscribe(), "unsubscribe")
}

func requests(near, far *nats.Conn) {
	service, problem := far.Subscribe("ask.go", func(message *nats.Msg) {
		check(message.Respond(append([]byte("4.20 for "), message.Data...)), "respond")
	})
	check(problem, "service")
	check(far.Flush(), "flush")
	end := time.Now().Add(wait)
	for number := 0; number < 100; {
		reply, problem := near.Request("ask.go", []byte(strconv.Itoa(number)), wait)
		if errors.Is(problem, nats.ErrNoResponders) && number == 0 && time.Now().Before(end) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		check(problem, "request")
		expect(string(reply.Data) == "4.20 for "+strconv.Itoa(number), "%s", reply.Data)
		number++
	}
	check(service.Unsubscribe(), "unsubscribe")
	_, problem = near.Request("ask.nobody", nil, wait)
	expect(errors.Is(problem, nats.ErrNoResponders), "nobody answers: %v", problem)
}

func groups(near, far *nats.Conn) {
	var lock sync.Mutex
	seen := map[string]int{}
	members := map[string]int{}
	take := func(name string) nats.MsgHandler {
		return func(message *nats.Msg) {
			lock.Lock()
			defer lock.Unlock()
			if !strings.Contains(string(message.Data), "probe") {
				seen[string(message.Data)]++
				members[name]++
			}
		}
	}
	for _, name := range []string{"a", "b"} {
		_, problem := far.QueueSubscribe("prices.group", "tellers", take(name))
		check(problem, "queue subscribe")
	}
	alone, problem := far.SubscribeSync("prices.group")
	check(problem, "subscribe")
	subscribed(near, alone, "prices.group")
	for number := 0; number < 200; number++ {
		check(near.Publish("prices.group", []byte(strconv.Itoa(number))), "publish")
	}
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		lock.Lock()
		count := len(seen)
		lock.Unlock()
		if count >= 200 {
			break
		}
	}
	lock.Lock()
	defer lock.Unlock()
	expect(len(seen) == 200 && len(members) == 2, "%d messages for %v", len(seen), members)
	for data, times := range seen {
		expect(times == 1, "%s came %d times", data, times)
	}
}

func durable(near *nats.Conn) {
	stream, problem := near.JetStream()
	check(problem, "the context of a stream")
	numbers := map[string]bool{}
	for number := 0; number < 50; number++ {
		ack, problem := stream.Publish("orders.go", []byte(strconv.Itoa(number)))
		check(problem, "publish and wait")
		numbers[fmt.Sprintf("%s %d", ack.Stream, ack.Sequence)] = true
	}
	expect(len(numbers) == 50, "%d numbers of 50 messages", len(numbers))
	first, problem := stream.Publish("orders.again", []byte("x"), nats.MsgId("go-1"))
	check(problem, "first")
	second, problem := stream.Publish("orders.again", []byte("x"), nats.MsgId("go-1"))
	check(problem, "second")
	expect(second.Duplicate && second.Sequence == first.Sequence, "%+v %+v", first, second)
	_, problem = stream.AccountInfo()
	expect(problem != nil, "there are no streams to ask for")
}

func main() {
	near, far := os.Args[1], os.Args[2]
	told := make(chan error, 16)
	publisher, problem := nats.Connect(near, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, problem error) { told <- problem }))
	check(problem, "connect")
	subscriber, problem := nats.Connect(far)
	check(problem, "connect")
	messages(publisher, subscriber)
	requests(publisher, subscriber)
	groups(publisher, subscriber)
	durable(publisher)
	check(publisher.Publish("closed.door", []byte("x")), "publish")
	check(publisher.Flush(), "flush")
	select {
	case problem := <-told:
		expect(strings.Contains(strings.ToLower(problem.Error()), "permissions violation"), "%v", problem)
	case <-time.After(wait):
		expect(false, "not told of what a rule refuses")
	}
	problem = publisher.Publish("prices.large", make([]byte, publisher.MaxPayload()+1))
	expect(errors.Is(problem, nats.ErrMaxPayload), "a payload beyond the maximum: %v", problem)
	check(subscriber.Drain(), "drain")
	publisher.Close()
}
