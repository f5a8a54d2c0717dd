//! Places where a test ends the process, or has the disk fail, at a step of its choice (RELIABILITY §6, FP).
//! Without the feature `fail-points` they are nothing.

#[cfg(feature = "fail-points")]
pub use fail::fail_point;

/// A step whose order matters: `fail_point!("name")`.
#[cfg(not(feature = "fail-points"))]
#[macro_export]
macro_rules! fail_point {
    ($($anything:tt)*) => {{}};
}

/// What a disk answers that fails as `return(ENOSPC)`, `return(EROFS)` or otherwise tells it to.
#[cfg(feature = "fail-points")]
pub(crate) fn disk_error<T>(how: Option<String>) -> std::io::Result<T> {
    use rustix::io::Errno;
    Err(match how.as_deref() {
        Some("ENOSPC") => Errno::NOSPC,
        Some("EROFS") => Errno::ROFS,
        _ => Errno::IO,
    }
    .into())
}
