//! Compiles the public `.proto` files into a client: the tests speak gRPC as any user would.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../bridge/proto");
    let files = protox::compile(["meshbridge/v1/bridge.proto"], ["../bridge/proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
