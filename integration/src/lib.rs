//! Black-box tests and benchmarks of the meshbridge binary.
