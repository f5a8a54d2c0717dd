//! Where the binary under test and the repository are.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the repository")
}

/// The `meshbridge` binary: `MESHBRIDGE_BIN`, or what cargo built last, release before debug.
///
/// # Panics
///
/// When there is none; `./integration/test` builds it.
pub fn binary() -> PathBuf {
    if let Some(named) = env::var_os("MESHBRIDGE_BIN") {
        return PathBuf::from(named);
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    ["release", "debug"]
        .map(|profile| target.join(profile).join("meshbridge"))
        .into_iter()
        .find(|path| path.is_file())
        .expect("no meshbridge binary: run ./integration/test, or set MESHBRIDGE_BIN")
}

/// The binary in which steps can be made to fail: `MESHBRIDGE_FAILING_BIN`, or `meshbridge-failing` beside the ordinary one. `None` where there is none.
pub fn failing_binary() -> Option<PathBuf> {
    let named = env::var_os("MESHBRIDGE_FAILING_BIN").map(PathBuf::from);
    Some(named.unwrap_or_else(|| binary().with_file_name("meshbridge-failing"))).filter(|path| path.is_file())
}
