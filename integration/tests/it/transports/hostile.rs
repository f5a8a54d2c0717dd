//! The TCP port of a bridge is open to the world: what strangers and liars do there stays theirs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Mesh, Plan, eventually, hostile_tcp, is_alive, throughout};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{WITHIN, over, sessions};

const PROTOCOL: &[u8] = b"meshbridge-tcp/1";
/// A handshake may take five seconds.
const DROPPED_WITHIN: Duration = Duration::from_secs(9);

struct Target {
    mesh: Mesh,
    address: String,
}

impl Target {
    async fn start() -> Result<Target> {
        let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &over("tcp")).await?;
        let address = mesh.zone("east").peer.clone();
        Ok(Target { mesh, address })
    }

    /// The certificate of a true bridge.
    fn certificate(&self, zone: &str) -> PathBuf {
        self.mesh.path().join(zone).join("tls")
    }

    /// The link that was there is there, and the bridge did not panic.
    async fn check(&self, sessions_before: f64) -> Result<()> {
        let east = self.mesh.zone("east");
        ensure!(is_alive(east.pid), "the bridge has ended: {}", self.mesh.story());
        ensure!(!self.mesh.log("east").contains("panicked"), "{}", self.mesh.story());
        let peer = east.admin().peer("west-1").await?;
        ensure!(peer.state == "up", "{peer:?}");
        let now = sessions(&east.admin(), "west-1").await?;
        ensure!(now == sessions_before, "the true link lost its session: {}", self.mesh.story());
        Ok(())
    }
}

/// Reads until the bridge closes; an error if it does not in time.
async fn is_closed(stream: &mut (impl AsyncReadExt + Unpin), what: &str) -> Result<()> {
    let closed = async {
        let mut heard = Vec::new();
        // Either way of ending will do.
        let _ = stream.read_to_end(&mut heard).await;
    };
    tokio::time::timeout(DROPPED_WITHIN, closed).await.with_context(|| format!("{what}: never closed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_before_and_after_tls_is_dropped() -> Result<()> {
    let target = Target::start().await?;
    let before = sessions(&target.mesh.zone("east").admin(), "west-1").await?;
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut noise = |length: usize| (0..length).map(|_| random.random::<u8>()).collect::<Vec<u8>>();
    for length in [1, 5, 100, 5_000, 70_000] {
        let mut stream = TcpStream::connect(&target.address).await?;
        let _ = stream.write_all(&noise(length)).await;
        let _ = stream.shutdown().await;
        is_closed(&mut stream, "noise before TLS").await?;
    }
    // A true certificate, and then: every first byte, cut prefaces, tokens of no session, slots that there are not.
    let mut prefaces: Vec<Vec<u8>> = (0..=u8::MAX).step_by(5).map(|first| vec![first; 40]).collect();
    prefaces.extend([vec![], vec![2], [vec![2], vec![0; 20]].concat()]);
    prefaces.extend((0..=u8::MAX).step_by(17).map(|slot| [vec![2], noise(32), vec![slot]].concat()));
    for preface in prefaces {
        let mut stream = hostile_tcp(&target.address, &target.certificate("west"), PROTOCOL).await?;
        let _ = stream.write_all(&preface).await;
        let _ = stream.shutdown().await;
        is_closed(&mut stream, &format!("{preface:?}")).await?;
    }
    // The name of the other transport, or none of ours.
    for protocol in [b"meshbridge/1".as_slice(), b"h2"] {
        ensure!(
            hostile_tcp(&target.address, &target.certificate("west"), protocol).await.is_err(),
            "{protocol:?} was taken"
        );
    }
    target.check(before).await
}

/// A peer that proves who it is, gets its session, and breaks the rules there.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_breaks_the_rules_ends_and_the_true_one_comes_back() -> Result<()> {
    let target = Target::start().await?;
    let east = target.mesh.zone("east").admin();
    let mut random = Pcg64Mcg::seed_from_u64(11);
    for length in [4_u32, 100, 131_072, 131_073, u32::MAX - 1, u32::MAX] {
        let mut stream = hostile_tcp(&target.address, &target.certificate("west"), PROTOCOL).await?;
        stream.write_all(&[1]).await?;
        ensure!(stream.read_u32().await? == u32::MAX - 1, "no welcome");
        stream.write_all(&[3]).await?;
        let _ = stream.write_all(&length.to_be_bytes()).await;
        let noise: Vec<u8> = (0..length.min(1_000)).map(|_| random.random()).collect();
        let _ = stream.write_all(&noise).await;
        let _ = stream.shutdown().await;
        is_closed(&mut stream, &format!("a message of {length}")).await?;
    }
    eventually("the true link is back", WITHIN, || async {
        let peer = east.peer("west-1").await?;
        ensure!(peer.state == "up" && peer.received.control_bytes > 0, "{peer:?}");
        Ok(())
    })
    .await
    .with_context(|| target.mesh.story())?;
    throughout("and stays", Duration::from_secs(3), || async {
        ensure!(east.peer("west-1").await?.state == "up");
        Ok(())
    })
    .await?;
    let now = sessions(&east, "west-1").await?;
    target.check(now).await
}

/// A session without its data connections is given up, so that nobody holds places for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_data_connections_is_given_up() -> Result<()> {
    let target = Target::start().await?;
    let mut stream = hostile_tcp(&target.address, &target.certificate("west"), PROTOCOL).await?;
    stream.write_all(&[1]).await?;
    ensure!(stream.read_u32().await? == u32::MAX - 1, "no welcome");
    let began = Instant::now();
    // It is not taken.
    is_closed(&mut stream, "a session that nobody takes").await?;
    ensure!(began.elapsed() > Duration::from_secs(1), "it had no time at all");
    Ok(())
}

/// Hundreds of connections that say nothing, or a byte now and then, and more than may wait: an honest peer gets in all the same.
#[tokio::test(flavor = "multi_thread")]
async fn slow_strangers_keep_nobody_out() -> Result<()> {
    let target = Target::start().await?;
    let strangers = tokio::spawn({
        let address = target.address.clone();
        async move {
            let mut held = Vec::new();
            loop {
                while held.len() < 400 {
                    let Ok(stream) = TcpStream::connect(&address).await else { break };
                    held.push(stream);
                }
                // The beginning of a record of a handshake, drop by drop.
                for stream in &mut held {
                    let _ = stream.try_write(&[22]);
                }
                held.retain(|stream| !matches!(stream.try_read(&mut [0; 16]), Ok(0)));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    for _ in 0..3 {
        target.mesh.kill("west")?;
        target.mesh.restart("west").await?;
        let east = target.mesh.zone("east").admin();
        eventually("the honest peer gets in", Duration::from_secs(5), || async {
            let peer = east.peer("west-1").await?;
            ensure!(peer.state == "up", "{peer:?}");
            Ok(())
        })
        .await
        .with_context(|| target.mesh.story())?;
    }
    strangers.abort();
    let now = sessions(&target.mesh.zone("east").admin(), "west-1").await?;
    target.check(now).await
}
