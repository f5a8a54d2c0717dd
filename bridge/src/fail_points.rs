//! A binary made for tests: it ends where FAILPOINTS says so, as `origin.before-send=4*off->panic`, or has the disk fail, as
//! `disk.sync-data=2*off->return(EIO)`. The names are those of `fail_point!` in the code.

/// From here on every panic ends the process at once, as `kill -9` would: nothing is caught, dropped or written out.
pub(crate) fn arm() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("ended on purpose: {panic}");
        std::process::abort();
    }));
    // Taken back when it is dropped, which is never.
    std::mem::forget(fail::FailScenario::setup());
}
