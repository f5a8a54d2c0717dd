//! A CloudEvent as the mesh carries it: zero-copy encoding and conversions.
