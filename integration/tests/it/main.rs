//! One test binary, one module per promise. Every test runs federations of its own.
