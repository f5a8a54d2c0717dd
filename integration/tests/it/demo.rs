//! The demo: slow (about half a minute), and what a newcomer sees first.

use std::time::Duration;

use anyhow::{Result, ensure};
use meshbridge_integration::meshbridge;

#[test]
fn the_demo_ends_by_itself_and_shows_each_fate_of_an_event() -> Result<()> {
    let output = meshbridge(&["demo"], Duration::from_secs(90))?;
    ensure!(output.code == 0, "exit code {}: {}{}", output.code, output.stdout, output.stderr);
    let shown = format!("{}{}", output.stdout, output.stderr).to_lowercase();
    for word in ["deliver", "redact", "denied", "default-deny@federation", "nobody"] {
        ensure!(shown.contains(word), "the demo never says `{word}`:\n{shown}");
    }
    Ok(())
}
