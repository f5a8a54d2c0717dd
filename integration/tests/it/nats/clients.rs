//! Clients of other languages, as their projects publish them.
//!
//! `integration/test` gets them where it can, and says in these variables where they are.

use std::path::PathBuf;
use std::process::Stdio;

use meshbridge_integration::skip;
use tokio::process::Command;

use super::*;

/// Longer than the client itself waits in all.
const CLIENT: Duration = Duration::from_secs(150);

async fn as_it_expects(mut client: Command) -> Result<()> {
    let federation = federation().await?;
    let running = client
        .args([federation.bridge("shop-1").nats, federation.bridge("till-1").nats])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let done =
        tokio::time::timeout(CLIENT, running.wait_with_output()).await.context("it does not end")??;
    let said = [done.stdout, done.stderr].concat();
    ensure!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&said), dropped(&federation).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_is_served_as_it_expects() -> Result<()> {
    let Some(python) = std::env::var_os("MESHBRIDGE_NATS_PYTHON").map(PathBuf::from) else {
        skip("the Python client of NATS", "MESHBRIDGE_NATS_PYTHON names no interpreter that has nats-py");
        return Ok(());
    };
    let mut client = Command::new(python);
    client.arg(repository().join("integration/tests/clients/nats_client.py"));
    as_it_expects(client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_client_is_served_as_it_expects() -> Result<()> {
    let Some(program) = std::env::var_os("MESHBRIDGE_NATS_GO").map(PathBuf::from) else {
        skip("the Go client of NATS", "MESHBRIDGE_NATS_GO names no build of integration/tests/clients");
        return Ok(());
    };
    as_it_expects(Command::new(program)).await
}
