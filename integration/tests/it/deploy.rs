//! The deployment files, as far as this machine can check them.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{binary, repository, skip};

fn read(path: &str) -> Result<String> {
    fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())
}

#[test]
fn the_unit_is_accepted_by_systemd() -> Result<()> {
    let unit = read("deploy/systemd/meshbridge.service")?;
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        skip("the systemd unit", "systemd-analyze is not installed");
        return Ok(());
    }
    // The unit names the installed binary; here the one under test stands in for it.
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("meshbridge.service");
    fs::write(&copy, unit.replace("/usr/bin/meshbridge", &binary().display().to_string()))?;
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("meshbridge.service")).collect();
    ensure!(output.status.success() && about_us.is_empty(), "{said}");
    Ok(())
}

#[test]
fn systemd_rates_the_exposure_of_the_unit_as_low() -> Result<()> {
    let version = Command::new("systemd-analyze").arg("--version").output();
    let version = version.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    let number: u32 = version.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    if number < 250 {
        skip("the exposure of the systemd unit", "this needs systemd-analyze 250 or later");
        return Ok(());
    }
    // In tenths: 2.0 of 10, where 10 is a service without any restriction.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
        .arg(repository().join("deploy/systemd/meshbridge.service"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn the_unit_gives_the_service_no_more_than_it_needs() -> Result<()> {
    let unit = read("deploy/systemd/meshbridge.service")?;
    for setting in [
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
        "StateDirectory=meshbridge",
        "MemoryDenyWriteExecute=yes",
        "LimitCORE=0",
    ] {
        ensure!(unit.lines().any(|line| line == setting), "no `{setting}` in the unit");
    }
    ensure!(
        unit.contains("LoadCredential=") && unit.contains("ExecReload=/bin/kill -HUP $MAINPID"),
        "{unit}"
    );
    Ok(())
}

/// A container file as its instructions, lines that continue joined.
fn instructions() -> Result<Vec<(String, String)>> {
    let text = read("deploy/Containerfile")?.replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (instruction, rest) = line.split_once(' ').with_context(|| line.to_owned())?;
            Ok((instruction.to_owned(), rest.trim().to_owned()))
        })
        .collect()
}

#[test]
fn the_image_is_static_and_its_user_is_not_root() -> Result<()> {
    let instructions = instructions()?;
    let stages: Vec<usize> = instructions
        .iter()
        .enumerate()
        .filter(|(_, (name, _))| name == "FROM")
        .map(|(index, _)| index)
        .collect();
    ensure!(stages.len() == 2, "one stage builds, one is shipped");
    let (build, image) = instructions.split_at(stages[1]);
    let built = build
        .iter()
        .any(|(name, rest)| name == "RUN" && rest.contains("cargo build --profile dist --locked"));
    ensure!(build[0].1.contains("alpine") && built, "the build stage links against musl: {build:?}");
    ensure!(image[0].1 == "scratch", "nothing but our files is in the image: {image:?}");
    let one = |wanted: &str| {
        let found: Vec<&str> =
            image.iter().filter(|(name, _)| name == wanted).map(|(_, rest)| rest.as_str()).collect();
        found.join(" ")
    };
    let user: u32 = one("USER").split(':').next().unwrap_or_default().parse().context("USER is a number")?;
    ensure!(user != 0, "the image runs as root");
    ensure!(one("EXPOSE") == "7443/udp 7443/tcp 8080/tcp 8081/tcp", "{}", one("EXPOSE"));
    ensure!(one("ENTRYPOINT") == r#"["/usr/bin/meshbridge"]"#, "{}", one("ENTRYPOINT"));
    ensure!(!image.iter().any(|(name, _)| name == "RUN"), "there is no shell in the image to run anything");
    Ok(())
}

#[test]
fn the_image_builds() -> Result<()> {
    let builder = ["podman", "docker"]
        .into_iter()
        .find(|tool| Command::new(tool).arg("info").output().is_ok_and(|output| output.status.success()));
    let Some(builder) = builder else {
        skip("building the container image", "neither podman nor a docker daemon answers");
        return Ok(());
    };
    if std::env::var_os("MESHBRIDGE_BUILD_IMAGE").is_none() {
        skip("building the container image", "it takes minutes; set MESHBRIDGE_BUILD_IMAGE=1");
        return Ok(());
    }
    let status = Command::new(builder)
        .args(["build", "-f", "deploy/Containerfile", "-t", "meshbridge-under-test", "."])
        .current_dir(repository())
        .status()?;
    ensure!(status.success(), "{builder} build failed");
    let version =
        Command::new(builder).args(["run", "--rm", "meshbridge-under-test", "--version"]).output()?;
    ensure!(version.status.success() && version.stdout.starts_with(b"meshbridge"), "{version:?}");
    Ok(())
}
