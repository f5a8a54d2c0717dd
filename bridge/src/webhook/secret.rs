//! What must not be shown.

use zeroize::Zeroize;

/// A value that no log, panic or API can show by accident: it is neither `Debug` nor `Display` nor `Serialize`, it is
/// not copied, and its memory is cleared when it goes (RELIABILITY G14).
pub(crate) struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub(crate) fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value itself; the one way to it, so that its uses are found by name.
    pub(crate) fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
