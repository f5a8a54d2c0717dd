//! Regular expressions: linear in the text, compiled when the condition is checked, and bounded in size.

use regex::{Regex, RegexBuilder};

use crate::code::Pattern;

/// Of one expression: each may take up to a quarter of a mebibyte, and for each thread a cache.
pub(crate) const COUNT_MAX: usize = 16;
const SOURCE_BYTES_MAX: usize = 512;
const NESTING_MAX: u32 = 24;
/// The sizes of a compiled program, in bytes, each with what a byte of text costs. Where its cache of states is of
/// no use, the engine does work for each byte that grows with the program; where it is, it does not.
const CLASSES: [(usize, u64); 3] = [(64 << 10, 1), (128 << 10, 2), (256 << 10, 4)];
/// The engine's cache of states.
const CACHE_BYTES: usize = 1 << 20;

/// Compiles a pattern, or says why not.
pub(crate) fn compile(source: &str) -> Result<Pattern, String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("the regular expression is longer than {SOURCE_BYTES_MAX} bytes"));
    }
    for (bytes, factor) in CLASSES {
        match build(source, bytes) {
            Ok(regex) => return Ok(Pattern { regex, factor }),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(regex::Error::Syntax(text)) => {
                return Err(format!("the regular expression is wrong: {}", last_line(&text)));
            }
            Err(_) => return Err("the regular expression is wrong".to_owned()),
        }
    }
    let most = CLASSES[CLASSES.len() - 1].0 >> 10;
    Err(format!("the regular expression needs more than {most} KiB when it is compiled"))
}

fn build(source: &str, bytes: usize) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source).size_limit(bytes).dfa_size_limit(CACHE_BYTES).nest_limit(NESTING_MAX).build()
}

/// The engine's text is a drawing of the pattern with the reason below it.
fn last_line(text: &str) -> &str {
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last)
}
