//! What the bridges of a mesh say of themselves: for the message of a test that waited in vain, while they still run.

use super::Mesh;

/// Bytes of one answer that are shown.
const SHOWN_MAX: usize = 6_000;
const ASKED: [&str; 4] = ["/v1/delivery", "/v1/subscriptions", "/v1/peers", "/v1/routes"];
/// Of the metrics, what says that something does not move.
const METRICS: [&str; 5] = ["dropped", "out_of_order", "spool", "process_threads", "alarm"];

impl Mesh {
    /// Books, subscriptions, links, ways and telling metrics of each running bridge.
    pub async fn books(&self) -> String {
        let mut text = String::new();
        for node in self.running() {
            text.push_str(&format!("\n--- {} says:", node.bridge));
            let admin = node.admin();
            for path in ASKED {
                let answer = match admin.text(path).await {
                    Ok((status, answer)) => format!("{status} {answer}"),
                    Err(problem) => format!("{problem:#}"),
                };
                let shown: String = answer.chars().take(SHOWN_MAX).collect();
                text.push_str(&format!("\n{path}: {shown}"));
            }
            let metrics = admin.metrics().await.unwrap_or_default().into_iter();
            let telling = metrics
                .filter(|(name, value)| *value != 0.0 && METRICS.iter().any(|part| name.contains(part)));
            telling.for_each(|(name, value)| text.push_str(&format!("\n{name} {value}")));
        }
        text
    }
}
