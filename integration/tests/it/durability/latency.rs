//! T55: what a durable answer costs beside the disk it waits for, both measured in the same directory in the same run; and beside an answer that waits for no
//! disk, for the machine may be busy with something else.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, PAYLOAD_BYTES, Publisher, STRUCTURED, Setup, Single, http};
use serde_json::{Value, json};

const SAMPLES: usize = 400;
const PAGE: usize = 4_096;
const CROWD: usize = 32;
const CROWD_FOR: Duration = Duration::from_secs(4);
/// Twice T55's 1.6 and 3.
const P50_MAX: f64 = 3.2;
const P99_MAX: f64 = 6.0;
/// What HTTP, JSON and two processes on a busy machine take, beside a disk that is faster than that.
const FLOOR: Duration = Duration::from_millis(2);
/// A crowd shares flushes: far more events a second than one publisher has answers.
const SHARING_MIN: f64 = 2.0;

struct Times {
    p50: Duration,
    p99: Duration,
}

impl Times {
    fn of(mut all: Vec<Duration>) -> Times {
        all.sort_unstable();
        Times { p50: all[all.len() / 2], p99: all[all.len() * 99 / 100] }
    }
}

/// A page and a flush, as a commit of one event is.
fn flushes(directory: &Path) -> Result<Vec<Duration>> {
    let path = directory.join("flushes");
    let file = File::create_new(&path)?;
    file.write_all_at(&vec![0; SAMPLES * PAGE], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for at in 0..SAMPLES {
        let began = Instant::now();
        file.write_all_at(&[7; PAGE], (at * PAGE) as u64)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(times)
}

async fn publish(publisher: &Publisher) -> Result<Duration> {
    let event = Draft::new(json!({"payload": "x".repeat(PAYLOAD_BYTES)}));
    answered(publisher, event.structured(), 202).await
}

/// The same publication but for the source that an event must have: its answer waits for nothing but the machine.
async fn refused(publisher: &Publisher) -> Result<Duration> {
    let mut event = Draft::new(json!({"payload": "x".repeat(PAYLOAD_BYTES)})).structured();
    event.as_object_mut().context("an object")?.remove("source");
    answered(publisher, event, 400).await
}

async fn answered(publisher: &Publisher, event: Value, status: u16) -> Result<Duration> {
    let body = event.to_string().into_bytes();
    let began = Instant::now();
    let answer = publisher.post("/v1/topics/orders.created", &[STRUCTURED], body).await?;
    ensure!(answer.status == status, "{}: {}", answer.status, answer.text);
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_answer_costs_little_more_than_its_flush() -> Result<()> {
    // Alone: beside a storm this would measure the storm.
    let _alone = super::MACHINE.write().await;
    let single = Single::start(Setup::default()).await?;
    let base = format!("http://{}", single.http);
    let made = http().post(format!("{base}/v1/subscriptions"));
    let made = made.body(json!({"name": "all", "filters": ["orders.**"]}).to_string()).send().await?;
    ensure!(made.status().is_success(), "{}", made.status());
    let keeping =
        || reqwest::Client::builder().no_proxy().build().map(|client| Publisher::over(client, &base));
    let publisher = keeping()?;
    publish(&publisher).await?;
    let (mut raw, mut answers, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that a disk that is slow for a while is slow for both.
    for _ in 0..2 {
        raw.extend(flushes(single.path())?);
        for _ in 0..SAMPLES {
            answers.push(publish(&publisher).await?);
            refusals.push(refused(&publisher).await?);
        }
    }
    let alone = answers.len() as f64 / answers.iter().sum::<Duration>().as_secs_f64();
    let (raw, answers, refusals) = (Times::of(raw), Times::of(answers), Times::of(refusals));
    let until = Instant::now() + CROWD_FOR;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let publisher = keeping()?;
        crowd.spawn(async move {
            let mut count = 0_u64;
            while Instant::now() < until {
                publish(&publisher).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut total = 0;
    while let Some(count) = crowd.join_next().await {
        total += count.context("a publisher of the crowd")??;
    }
    let together = total as f64 / CROWD_FOR.as_secs_f64();
    eprintln!(
        "flush p50 {:?} p99 {:?}; answer p50 {:?} p99 {:?}; without a disk p50 {:?} p99 {:?}; one publisher {alone:.0}/s, {CROWD} of them {together:.0}/s",
        raw.p50, raw.p99, answers.p50, answers.p99, refusals.p50, refusals.p99
    );
    let p50 = (raw.p50 + refusals.p50).mul_f64(P50_MAX).max(FLOOR);
    ensure!(answers.p50 <= p50, "p50 {:?} over {:?} and {:?}", answers.p50, raw.p50, refusals.p50);
    let p99 = (raw.p99 + refusals.p99).mul_f64(P99_MAX).max(5 * FLOOR);
    ensure!(answers.p99 <= p99, "p99 {:?} over {:?} and {:?}", answers.p99, raw.p99, refusals.p99);
    ensure!(together >= SHARING_MIN * alone, "{together:.0}/s together, {alone:.0}/s alone");
    Ok(())
}
