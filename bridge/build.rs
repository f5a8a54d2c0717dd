//! Compiles the `.proto` files without a system `protoc`.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/meshbridge/v1/bridge.proto"], ["proto"])?;
    let descriptor = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptor.bin");
    std::fs::write(&descriptor, prost::Message::encode_to_vec(&files))?;
    tonic_prost_build::configure().build_client(false).compile_fds(files)?;
    Ok(())
}
