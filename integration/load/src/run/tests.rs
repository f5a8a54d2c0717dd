//! Runs against a broker of a page, which loses or repeats events when it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;
use crate::payload::{PROBE, stamps};
use crate::wire::Protocol;

/// How often the broker sends the event of this number: 1 where it is honest.
type Copies = fn(u64) -> usize;

#[derive(Debug)]
struct Broker {
    copies: Copies,
    subscribers: Mutex<Vec<TcpStream>>,
}

impl Broker {
    /// Serves connections until the process ends; it is a test's.
    fn start(copies: Copies) -> Target {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let broker = Arc::new(Broker { copies, subscribers: Mutex::default() });
        thread::spawn(move || {
            for peer in listener.incoming().map_while(Result::ok) {
                let broker = Arc::clone(&broker);
                thread::spawn(move || broker.serve(peer));
            }
        });
        Target { address, protocol: Protocol::Nats, tls: None }
    }

    fn serve(&self, mut peer: TcpStream) -> std::io::Result<()> {
        peer.write_all(b"INFO {}\r\n")?;
        let mut reader = BufReader::new(peer.try_clone()?);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["PING"] => peer.write_all(b"PONG\r\n")?,
                ["SUB", ..] => self.subscribers.lock().expect("no panic").push(peer.try_clone()?),
                ["PUB", topic, rest @ .., length] => {
                    let mut body = vec![0; length.parse::<usize>().expect("a length") + 2];
                    reader.read_exact(&mut body)?;
                    self.forward(topic, length, &body);
                    if let [answer] = rest {
                        write!(peer, "MSG {answer} 0 9\r\n{{\"seq\":1}}\r\n")?;
                    }
                }
                _ => {}
            }
            line.clear();
        }
        Ok(())
    }

    fn forward(&self, topic: &str, length: &str, body: &[u8]) {
        let (number, _) = stamps(body).expect("an event of ours");
        let copies = if number == PROBE { 1 } else { (self.copies)(number) };
        for subscriber in self.subscribers.lock().expect("no panic").iter_mut() {
            for _ in 0..copies {
                // Who is gone gets nothing.
                let _ = write!(subscriber, "MSG {topic} 1 {length}\r\n")
                    .and_then(|()| subscriber.write_all(body));
            }
        }
    }
}

fn run_against(copies: Copies, acknowledged: bool) -> Measured {
    let target = Broker::start(copies);
    let plan = Plan {
        publish_at: target.clone(),
        subscribe_at: target,
        form: Form { topic: "bench.fast.events", bytes: 128, attributes: false, acknowledged },
        subscribers: 1,
        pace: Pace::Window { events: 512, unacknowledged: 64, write_bytes: 8_192 },
        warm_up: Duration::from_millis(20),
        measure: Duration::from_millis(100),
        whole: acknowledged,
        servers: Vec::new(),
        forbidden: Some("kim@example.org"),
    };
    run(&plan, &Interrupt::default()).expect("the broker answers")
}

#[test]
fn an_honest_broker_has_a_clean_run() {
    let measured = run_against(|_| 1, false);
    assert!(measured.events > 100 && measured.events_per_second > 0.0, "{measured:?}");
    assert_eq!((measured.lost, measured.repeated, measured.late), (0, 0, 0));
    assert!(measured.unedited > 0, "nobody edited the events");
}

#[test]
fn one_lost_event_is_found() {
    let measured = run_against(|number| usize::from(number != 57), false);
    assert_eq!((measured.lost, measured.repeated), (1, 0), "{measured:?}");
}

#[test]
fn one_event_that_came_twice_is_found() {
    let measured = run_against(|number| if number == 57 { 2 } else { 1 }, false);
    assert_eq!((measured.lost, measured.repeated), (0, 1), "{measured:?}");
}

#[test]
fn acknowledgements_are_counted() {
    let measured = run_against(|_| 1, true);
    assert!(measured.acknowledged_per_second > 0.0 && measured.refused == 0, "{measured:?}");
}
