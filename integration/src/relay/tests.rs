use super::*;

const ROUND: u32 = 2_000;

/// Puts numbered packets into a line, one a millisecond, and takes out what arrives within the ten seconds after.
fn through(weather: Weather, seed: u64) -> (Vec<u32>, Traffic, Vec<Duration>) {
    let mut line = Line::new(seed);
    line.set(weather);
    let began = Instant::now();
    let (mut arrived, mut took) = (Vec::new(), Vec::new());
    for step in 0..ROUND + 10_000 {
        let now = began + Duration::from_millis(u64::from(step));
        if step < ROUND {
            let mut packet = step.to_be_bytes().to_vec();
            packet.resize(1_000, 0);
            line.put(&packet, now);
        }
        while let Some(packet) = line.take(now) {
            let number = u32::from_be_bytes(*packet.first_chunk().expect("four bytes"));
            arrived.push(number);
            took.push(now - began - Duration::from_millis(u64::from(number)));
        }
    }
    (arrived, line.traffic(), took)
}

#[track_caller]
fn about(is: u64, share: f64) {
    let expected = f64::from(ROUND) * share;
    assert!((is as f64 - expected).abs() < expected * 0.2, "{is}, expected about {expected}");
}

#[test]
fn a_perfect_line_changes_nothing() {
    let (arrived, traffic, took) = through(Weather::default(), 1);
    assert!(arrived.into_iter().eq(0..ROUND));
    assert_eq!(traffic, Traffic { carried: u64::from(ROUND), ..Traffic::default() });
    assert!(took.iter().all(Duration::is_zero));
}

#[test]
fn each_fault_strikes_its_share() {
    let (arrived, traffic, _) = through(Weather { loss: 0.3, ..Weather::default() }, 2);
    about(traffic.lost, 0.3);
    assert_eq!(arrived.len() as u64 + traffic.lost, u64::from(ROUND));
    assert!(arrived.is_sorted());

    let (arrived, traffic, _) = through(Weather { duplicate: 0.2, ..Weather::default() }, 3);
    about(traffic.duplicated, 0.2);
    assert_eq!(arrived.len() as u64, u64::from(ROUND) + traffic.duplicated);

    let jitter = Duration::from_millis(50);
    let (arrived, traffic, took) = through(Weather { reorder: 0.25, jitter, ..Weather::default() }, 4);
    about(traffic.reordered, 0.25);
    assert!(!arrived.is_sorted() && arrived.len() == ROUND as usize);
    assert!(took.iter().all(|took| *took <= jitter + Duration::from_millis(1)));

    let delay = Duration::from_millis(80);
    let (arrived, _, took) = through(Weather { delay, ..Weather::default() }, 5);
    assert!(arrived.is_sorted() && took.iter().all(|took| *took == delay));

    let (arrived, traffic, _) = through(Weather { mtu: Some(999), ..Weather::default() }, 6);
    assert!(arrived.is_empty() && traffic.too_large == u64::from(ROUND));
    assert_eq!(through(Weather { mtu: Some(1_000), ..Weather::default() }, 6).0.len(), ROUND as usize);
}

#[test]
fn a_throttled_line_is_slow_and_never_holds_more_than_its_queue() {
    let rate = Some(100_000);
    let (arrived, traffic, took) = through(Weather { bytes_per_second: rate, ..Weather::default() }, 7);
    // 2 MB at 100 kB/s are 20 s, of which 12 are watched.
    assert!(arrived.is_sorted() && (1_150..=1_200).contains(&arrived.len()), "{}", arrived.len());
    assert_eq!(traffic.overflowed, 0);
    assert!(took.last().is_some_and(|last| *last > Duration::from_secs(9)));

    let mut line = Line::new(8);
    line.set(Weather { delay: Duration::from_secs(60), ..Weather::default() });
    let now = Instant::now();
    let packets = QUEUE_BYTES_MAX / 1_000 + 100;
    (0..packets).for_each(|_| line.put(&[0; 1_000], now));
    assert!(line.traffic().overflowed >= 100 && line.queued_bytes() <= QUEUE_BYTES_MAX);
}

#[test]
fn a_cut_takes_what_is_on_its_way() {
    let mut line = Line::new(9);
    let now = Instant::now();
    line.set(Weather { delay: Duration::from_millis(10), ..Weather::default() });
    line.put(b"before", now);
    line.set(Weather::cut());
    line.put(b"during", now);
    assert_eq!(line.take(now + Duration::from_millis(20)), None);
    line.set(Weather::default());
    line.put(b"after", now + Duration::from_millis(30));
    assert_eq!(line.take(now + Duration::from_millis(30)), Some(b"after".to_vec()));
    assert_eq!(line.traffic(), Traffic { carried: 1, cut: 2, ..Traffic::default() });
}

#[test]
fn a_seed_is_a_fate() {
    let weather = Weather {
        loss: 0.2,
        duplicate: 0.1,
        reorder: 0.5,
        jitter: Duration::from_millis(9),
        ..Weather::default()
    };
    assert_eq!(through(weather, 10), through(weather, 10));
    assert_ne!(through(weather, 10), through(weather, 11));
}

#[tokio::test]
async fn packets_go_both_ways_until_they_are_cut() -> Result<()> {
    let (dialler, callee) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    let relay = Relay::start(callee.local_addr()?, 12).await?;
    dialler.send_to(b"ping", relay.address()).await?;
    let (text, from) = receive(&callee).await.context("forward")?;
    assert_eq!(text, "ping");
    callee.send_to(b"pong", from).await?;
    assert_eq!(receive(&dialler).await.context("backward")?, ("pong".to_owned(), relay.address()));

    relay.set(Way::Backward, Weather::cut());
    dialler.send_to(b"ping", relay.address()).await?;
    assert_eq!(receive(&callee).await.context("the other way is open")?.0, "ping");
    callee.send_to(b"lost", from).await?;
    while relay.traffic(Way::Backward).cut == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    relay.heal();
    callee.send_to(b"back", from).await?;
    assert_eq!(receive(&dialler).await.context("healed")?.0, "back");

    // A dialler that was started again has another port, or the same; both work.
    let again = UdpSocket::bind("127.0.0.1:0").await?;
    again.send_to(b"new", relay.address()).await?;
    let (_, from) = receive(&callee).await.context("a new dialler")?;
    callee.send_to(b"hello", from).await?;
    assert_eq!(receive(&again).await.context("to the new dialler")?.0, "hello");
    Ok(())
}

#[tokio::test]
async fn delay_is_kept_on_real_sockets() -> Result<()> {
    let (dialler, callee) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
    let relay = Relay::start(callee.local_addr()?, 13).await?;
    relay.set(Way::Forward, Weather { delay: Duration::from_millis(60), ..Weather::default() });
    let began = Instant::now();
    dialler.send_to(b"slow", relay.address()).await?;
    receive(&callee).await?;
    assert!(began.elapsed() >= Duration::from_millis(60));
    Ok(())
}

async fn receive(socket: &UdpSocket) -> Result<(String, SocketAddr)> {
    let mut buffer = [0; 64];
    let received = tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut buffer)).await;
    let (length, from) = received.context("nothing came")??;
    Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), from))
}
