//! gRPC health and reflection, as generic tools use them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Setup, Single};
use prost::Message;
use prost_types::FileDescriptorProto;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;

const WITHIN: Duration = Duration::from_secs(10);
const BRIDGE: &str = "meshbridge.v1.Bridge";

async fn channel(bridge: &Single) -> Result<Channel> {
    Ok(Channel::from_shared(format!("http://{}", bridge.grpc))?.connect().await?)
}

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Result<ServingStatus> {
    let next = tokio::time::timeout(WITHIN, watch.message()).await.context("no status in time")?;
    Ok(next?.context("the watch ended")?.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_and_the_server_as_a_whole_are_serving() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let mut health = HealthClient::new(channel(&bridge).await?);
    for service in ["", BRIDGE] {
        let answer = health.check(check(service)).await?.into_inner();
        ensure!(answer.status() == ServingStatus::Serving, "`{service}`: {answer:?}");
    }
    let unknown = health.check(check("meshbridge.v1.Nothing")).await.err().context("it is known")?;
    ensure!(unknown.code() == Code::NotFound, "{unknown:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_hears_that_the_bridge_stops() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let mut health = HealthClient::new(channel(&bridge).await?);
    let mut of_bridge = health.watch(check(BRIDGE)).await?.into_inner();
    let mut of_server = health.watch(check("")).await?.into_inner();
    ensure!(next(&mut of_bridge).await? == ServingStatus::Serving, "at first");
    ensure!(next(&mut of_server).await? == ServingStatus::Serving, "at first");
    bridge.terminate()?;
    ensure!(next(&mut of_bridge).await? == ServingStatus::NotServing, "while it stops");
    ensure!(next(&mut of_server).await? == ServingStatus::NotServing, "while it stops");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_every_service_and_has_its_files() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let channel = channel(&bridge).await?;
    let answer = ask(&channel, MessageRequest::ListServices(String::new())).await?;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        anyhow::bail!("{answer:?}")
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for wanted in [BRIDGE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
        ensure!(names.iter().any(|name| name == wanted), "{wanted} is not among {names:?}");
    }

    let files = files_of(&ask(&channel, MessageRequest::FileContainingSymbol(BRIDGE.to_owned())).await?)?;
    let file =
        files.iter().find(|file| file.package() == "meshbridge.v1").context("no file of the bridge")?;
    let methods: Vec<&str> =
        file.service.iter().flat_map(|service| &service.method).map(|method| method.name()).collect();
    ensure!(methods == ["Publish", "PublishBatch", "PublishStream", "Subscribe"], "{methods:?}");
    // A tool asks for what a file imports until it has everything.
    let mut wanted = file.dependency.clone();
    let mut read = Vec::new();
    while let Some(name) = wanted.pop() {
        let answer = ask(&channel, MessageRequest::FileByFilename(name.clone())).await?;
        let files = files_of(&answer)?;
        let file = files.iter().find(|file| file.name() == name).with_context(|| format!("no {name}"))?;
        wanted.extend(file.dependency.iter().filter(|import| !read.contains(*import)).cloned());
        read.push(name);
    }
    ensure!(read.iter().any(|name| name == "cloudevents.proto"), "{read:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn older_tools_find_reflection_too() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(&bridge).await?);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    let answer = answers.next().await.context("no answer")??;
    ensure!(format!("{answer:?}").contains(BRIDGE), "{answer:?}");
    Ok(())
}

async fn ask(channel: &Channel, message: MessageRequest) -> Result<ServerReflectionResponse> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    Ok(answers.next().await.context("no answer")??)
}

fn files_of(answer: &ServerReflectionResponse) -> Result<Vec<FileDescriptorProto>> {
    let Some(MessageResponse::FileDescriptorResponse(files)) = &answer.message_response else {
        anyhow::bail!("{answer:?}")
    };
    let files = files.file_descriptor_proto.iter().map(|file| FileDescriptorProto::decode(file.as_slice()));
    Ok(files.collect::<Result<_, _>>()?)
}
